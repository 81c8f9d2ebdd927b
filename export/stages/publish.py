"""The last stage: models, golden answers and manifest, published as one folder."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.artifact import OnnxArtifact
from ...calibration.dataset.calibration_set import input_of
from ...calibration.targets.base import Int8Result
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.bundle import MANIFEST, Bundle, output_key
from ...runtime.bundle.manifest import (
    SCHEMA,
    FileEntry,
    FloatPrecision,
    Manifest,
    ModelEntry,
    OutputSpec,
    PictureEntry,
    Preflight,
    TensorSpec,
    Verdict,
)
from ...runtime.bundle.parity import Parity
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.files import publish_folder, sha256_file
from ...runtime.records import encode
from ...runtime.session.session import load_onnxruntime
from ..data.dataset import Dataset
from ..models.spec import Form, ModelSpec
from ..pretrained.weights import Trained
from .accuracy import Evaluation, Shown
from .evidence import Evidence
from .golden_pictures import GoldenPicture
from .parity import Reference

GOLDEN_SAMPLES = 8
NOT_CHECKED = Preflight()
PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "numpy", "pillow")


@dataclass(frozen=True)
class Subject:
    """What is exported: a trained network, its data, and how its inputs are prepared."""

    spec: ModelSpec
    form: Form
    trained: Trained
    data: Dataset
    preprocess: Preprocess | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class."""
        return self.trained.labels or self.data.labels


@dataclass(frozen=True)
class Proven:
    """One precision that went through its stage: the artifact, its proofs, and what stayed float.

    Attributes:
        kept: nodes that do not compute in the model's own precision, by name, and in which they do.
        reasons: why, by the same names.
        int8: how the INT8 model came about; None for the others.
    """

    artifact: OnnxArtifact
    parity: Parity
    kept: Mapping[str, FloatPrecision] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    int8: Int8Result | None = None
    preflight: Preflight = NOT_CHECKED


@dataclass(frozen=True)
class Outcome:
    """All that the stages gave, ready to be written.

    Attributes:
        subject: what was exported.
        proven: each precision with its proof.
        reference: PyTorch's answers, of which the first become the golden ones.
        pictures: encoded ones with their tensors and labels; none for a network that takes tensors.
        calibration: the pictures that gave the ranges of values.
        evaluation: accuracy, and the pictures that judged.
        ancestors: the ONNX models from which those in `proven` descend, the exporter's own first.
        evidence: what the models came from.
    """

    subject: Subject
    proven: Mapping[str, Proven]
    reference: Reference
    pictures: tuple[GoldenPicture, ...]
    calibration: Shown
    evaluation: Evaluation
    ancestors: tuple[OnnxArtifact, ...]
    evidence: Evidence


def decide(models: Mapping[str, tuple[Parity, Accuracy]], max_drop: float) -> Verdict:
    """Which precision to ship: INT8 if it holds the budget, else FP16, else FP32."""
    fallback = "fp16" if "fp16" in models else "fp32"
    if "int8" not in models:
        return Verdict(fallback, "INT8 was not asked for")
    parity, accuracy = models["int8"]
    low, high = accuracy.ci95
    interval = f"95 % interval {low:.2f} to {high:.2f}, {accuracy.samples} pictures"
    drop = f"top-1 drops by {accuracy.drop:.2f} points ({interval})"
    if not parity:
        return Verdict(fallback, f"INT8 failed parity: {parity.reason}")
    if accuracy.drop > max_drop:
        return Verdict(fallback, f"INT8 {drop}, above the budget of {max_drop:g}")
    return Verdict("int8", f"{drop}, within the budget of {max_drop:g}")


def publish(out: Path, outcome: Outcome, verdict: Verdict, seconds: Mapping[str, float]) -> Bundle:
    """Write a bundle beside `out`, verify it as a device would, and rename it into place.

    Args:
        out: the folder; an existing bundle there is replaced.
        outcome: all that the stages gave.
        verdict: which precision to ship.
        seconds: wall time of each stage.

    Raises:
        OutputError: the place cannot be written.
    """
    with publish_folder(out) as draft:
        manifest = _manifest(draft, out.name, outcome, verdict, seconds)
        (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        Bundle.open(draft)
    return Bundle.open(out)


def _manifest(
    folder: Path, name: str, outcome: Outcome, verdict: Verdict, seconds: Mapping[str, float]
) -> Manifest:
    subject, accuracy = outcome.subject, outcome.evaluation.accuracy
    return Manifest(
        schema=SCHEMA,
        name=name,
        architecture=subject.spec.name,
        form=subject.form.name,
        edgeproof=version("edgeproof"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        weights=subject.trained.record.describe(),
        data={
            "name": subject.data.name,
            "calibration": encode(outcome.calibration),
            "evaluation": encode(outcome.evaluation.shown),
        },
        input=_input_spec(outcome.proven["fp32"].artifact),
        outputs=_output_specs(outcome.reference.outputs),
        preprocess=subject.preprocess,
        labels=subject.labels,
        models={
            key: _write_model(folder, key, proven, accuracy[key]) for key, proven in outcome.proven.items()
        },
        target=outcome.evidence.request.target if "int8" in outcome.proven else None,
        golden=_write_golden(folder, outcome.reference, outcome.pictures),
        pictures=tuple(_write_picture(folder, picture) for picture in outcome.pictures),
        evidence=_write_evidence(folder, outcome.evidence),
        verdict=verdict,
        toolchain=_toolchain(),
        lineage=_lineage([*outcome.ancestors, *(proven.artifact for proven in outcome.proven.values())]),
        stages=tuple({"name": stage, "seconds": round(took, 3)} for stage, took in seconds.items()),
    )


def _lineage(artifacts: Sequence[OnnxArtifact]) -> tuple[Mapping[str, Any], ...]:
    """Each model once, in the order in which they were made."""
    each: dict[str, OnnxArtifact] = {}
    for artifact in artifacts:
        each.setdefault(artifact.sha256, artifact)
    return tuple(
        {"stage": a.stage, "sha256": a.sha256, "parent": a.parent, "nodes": a.nodes, "bytes": len(a.data)}
        for a in each.values()
    )


def _write_model(folder: Path, precision: str, proven: Proven, accuracy: Accuracy) -> ModelEntry:
    artifact = proven.artifact
    path = folder / f"model.{precision}.onnx"
    path.write_bytes(artifact.data)
    return ModelEntry(
        file=path.name,
        sha256=artifact.sha256,
        bytes=len(artifact.data),
        nodes=artifact.nodes,
        parity=proven.parity,
        accuracy=accuracy,
        preflight=proven.preflight,
        kept=proven.kept,
        parent=artifact.parent,
    )


def _write_golden(folder: Path, reference: Reference, pictures: Sequence[GoldenPicture]) -> FileEntry:
    path = folder / "golden.npz"
    arrays = {
        output_key(i, name): values[:GOLDEN_SAMPLES]
        for i, (name, values) in enumerate(reference.outputs.items())
    }
    if pictures:
        arrays["pictures"] = np.stack([picture.tensor for picture in pictures])
    np.savez(path, allow_pickle=False, input=reference.inputs[:GOLDEN_SAMPLES], **arrays)
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
    return TensorSpec(found.name, ("batch", *found.shape[1:]), found.dtype)


def _output_specs(outputs: Mapping[str, NDArray[Any]]) -> tuple[OutputSpec, ...]:
    return tuple(
        OutputSpec(
            name=name,
            shape=("batch", *values.shape[1:]),
            dtype=str(values.dtype),
            scores="probabilities" if _are_probabilities(values) else "logits",
        )
        for name, values in outputs.items()
    )


def _are_probabilities(values: NDArray[Any]) -> bool:
    return values.ndim == 2 and bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))


def _toolchain() -> dict[str, str]:
    packages = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **packages, "onnxruntime": load_onnxruntime().__version__}
