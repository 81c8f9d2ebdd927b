"""The last stage: models, golden answers and manifest, published as one folder."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ...calibration.artifact import OnnxArtifact
from ...calibration.onnx_graph.shapes import input_of
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.bundle import MANIFEST, Bundle, output_key
from ...runtime.bundle.manifest import (
    SCHEMA,
    FileEntry,
    Manifest,
    ModelEntry,
    PictureEntry,
    TensorSpec,
    Verdict,
)
from ...runtime.files import publish_folder, sha256_file
from ...runtime.records import encode
from ...runtime.session.session import load_onnxruntime
from ...runtime.tasks.base import Task
from ...runtime.tasks.outputs import specs_of
from ...runtime.tasks.registry import task_entry
from ..materials import BILL, bill_of_materials
from .accuracy import Evaluation, SampleDigest
from .evidence import Evidence
from .golden_pictures import GoldenPicture
from .parity import PrecisionResult, Reference
from .source import ExportSource

REPORT = "report.html"
GOLDEN_SAMPLES, MIN_GOLDEN = 8, 2
GOLDEN_BYTES = 64 << 20  # of all golden arrays, unless two samples have more
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "numpy", "pillow")


@dataclass(frozen=True)
class ExportResult:
    """All that an export found, ready to be written.

    Attributes:
        source: what was exported.
        results: each precision with its proofs.
        reference: PyTorch's answers, of which the first become the golden ones.
        pictures: encoded ones with their tensors and labels; none for a network that takes tensors.
        calibration: the samples that gave the ranges of values.
        evaluation: accuracy, and the samples on which it was measured.
        ancestors: the ONNX models from which those in `results` descend, the exporter's own first.
        evidence: how the models were made.
        verdict: which precision to ship.
    """

    source: ExportSource
    results: Mapping[str, PrecisionResult]
    reference: Reference
    pictures: tuple[GoldenPicture, ...]
    calibration: SampleDigest
    evaluation: Evaluation
    ancestors: tuple[OnnxArtifact, ...]
    evidence: Evidence
    verdict: Verdict


def publish(
    out: Path, outcome: ExportResult, seconds: Mapping[str, float], report: Callable[[Bundle], str]
) -> Bundle:
    """Write a bundle beside `out`, verify it as a device would, and rename it into place.

    Args:
        out: the folder; an existing bundle there is replaced.
        outcome: all that the export found.
        seconds: wall time of each stage.
        report: makes the page of the bundle as it stands without one.

    Raises:
        OutputError: the place cannot be written.
    """
    with publish_folder(out) as draft:
        manifest = _manifest(draft, out.name, outcome, seconds)
        bill = bill_of_materials(manifest.name, manifest.models)
        (draft / BILL).write_text(bill, encoding="utf-8")
        manifest = replace(manifest, materials=_entry(draft / BILL))
        (draft / REPORT).write_text(report(Bundle(draft, manifest)), encoding="utf-8")
        whole = replace(manifest, report=_entry(draft / REPORT))
        (draft / MANIFEST).write_text(whole.to_json(), encoding="utf-8")
        Bundle.open(draft)
    return Bundle.open(out)


def _manifest(folder: Path, name: str, outcome: ExportResult, seconds: Mapping[str, float]) -> Manifest:
    source, accuracy = outcome.source, outcome.evaluation.accuracy
    return Manifest(
        schema=SCHEMA,
        name=name,
        architecture=source.architecture,
        form=source.form,
        edgeproof=version("edgeproof"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        weights=source.weights.to_manifest(),
        data={
            "name": source.data.name,
            "calibration": encode(outcome.calibration),
            "evaluation": encode(outcome.evaluation.digest),
        },
        input=_input_spec(outcome.results["fp32"].artifact),
        outputs=specs_of(outcome.reference.outputs),
        preprocess=source.feed.served,
        labels=source.labels,
        models={
            key: _write_model(folder, key, result, accuracy[key]) for key, result in outcome.results.items()
        },
        target=outcome.evidence.request.target if "int8" in outcome.results else None,
        golden=_write_golden(folder, outcome.reference, outcome.pictures),
        pictures=tuple(_write_picture(folder, picture) for picture in outcome.pictures),
        evidence=_write_evidence(folder, outcome.evidence),
        verdict=outcome.verdict,
        task=task_entry(source.task),
        task_arrays=_write_task_arrays(folder, source.task),
        toolchain=_toolchain(),
        lineage=_lineage(outcome),
        stages=tuple({"name": stage, "seconds": round(took, 3)} for stage, took in seconds.items()),
    )


def _lineage(outcome: ExportResult) -> tuple[Mapping[str, Any], ...]:
    """Each model once, in the order in which they were made."""
    each: dict[str, OnnxArtifact] = {}
    for artifact in (*outcome.ancestors, *(result.artifact for result in outcome.results.values())):
        each.setdefault(artifact.sha256, artifact)
    return tuple(
        {"stage": a.stage, "sha256": a.sha256, "parent": a.parent, "nodes": a.nodes, "bytes": len(a.data)}
        for a in each.values()
    )


def _write_model(folder: Path, precision: str, result: PrecisionResult, accuracy: Accuracy) -> ModelEntry:
    artifact = result.artifact
    path = folder / f"model.{precision}.onnx"
    path.write_bytes(artifact.data)
    return ModelEntry(
        file=path.name,
        sha256=artifact.sha256,
        bytes=len(artifact.data),
        nodes=artifact.nodes,
        parity=result.parity,
        accuracy=accuracy,
        preflight=result.preflight,
        kept=result.kept,
        parent=artifact.parent,
    )


def _write_golden(folder: Path, reference: Reference, pictures: Sequence[GoldenPicture]) -> FileEntry:
    path = folder / "golden.npz"
    sample = sum(values[:1].nbytes for values in (reference.inputs, *reference.outputs.values()))
    count = max(MIN_GOLDEN, min(GOLDEN_SAMPLES, GOLDEN_BYTES // sample))
    arrays: dict[str, Any] = {
        output_key(i, name): values[:count] for i, (name, values) in enumerate(reference.outputs.items())
    }
    if pictures:
        arrays["pictures"] = np.stack([picture.tensor for picture in pictures])
    np.savez(path, input=reference.inputs[:count], **arrays)
    return _entry(path)


def _write_task_arrays(folder: Path, task: Task) -> FileEntry | None:
    arrays: dict[str, Any] = task.arrays()
    if not arrays:
        return None
    path = folder / "task.npz"
    np.savez(path, **arrays)
    return _entry(path)


def _write_picture(folder: Path, picture: GoldenPicture) -> PictureEntry:
    path = folder / picture.file
    path.write_bytes(picture.data)
    entry = _entry(path)
    return PictureEntry(entry.file, entry.sha256, entry.bytes, picture.label)


def _write_evidence(folder: Path, evidence: Evidence) -> FileEntry:
    path = folder / "evidence.json"
    path.write_text(evidence.to_json(), encoding="utf-8")
    return _entry(path)


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.name, sha256_file(path), path.stat().st_size)


def _input_spec(artifact: OnnxArtifact) -> TensorSpec:
    found = input_of(artifact.model)
    batch = found.shape[0] if isinstance(found.shape[0], int) else "batch"
    return TensorSpec(found.name, (batch, *found.shape[1:]), found.dtype)


def _toolchain() -> dict[str, str]:
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "onnxruntime": load_onnxruntime().__version__}
