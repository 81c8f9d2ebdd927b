"""What stands in a report: a bundle's manifest and evidence in words, tables, charts and pictures."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from ...calibration.onnx_graph.graph import array_of
from ...calibration.onnx_graph.read import parse_onnx
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import ModelEntry, Verdict
from ...runtime.records import decode, encode
from ...runtime.session.session import Session
from ...runtime.sources.readers import decode_image
from ...runtime.tasks.base import View
from ...runtime.tasks.registry import described
from ..stages.evidence import Evidence
from .charts import bar_chart, curve_chart, depth_chart, range_chart

PICTURE_SIDE, QUALITY = 256, 85
CLASSES_SHOWN = 3
DRAWABLE_DB = 120.0  # an exact answer, in a chart


@dataclass(frozen=True)
class Table:
    """A heading for each column, and rows of text."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Answer:
    """What one precision says of a picture.

    Attributes:
        precision: that of the model.
        picture: with the answer's places drawn in, as a data URL of JPEG.
        lines: the answer in words.
    """

    precision: str
    picture: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Example:
    """One picture, as each precision answers it.

    Attributes:
        name: of its file in the bundle.
        answers: of each precision.
    """

    name: str
    answers: Sequence[Answer]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        text: what it says, in sentences; empty for none.
        chart: SVG; empty for none.
        table: rows; None for none.
        folded: whether the table is shown only when it is asked for.
        examples: pictures with answers.
    """

    title: str
    text: str = ""
    chart: str = ""
    table: Table | None = None
    folded: bool = False
    examples: Sequence[Example] = field(default=())


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        name: of the bundle.
        subtitle: network, weights and data.
        verdict: which precision to ship, and why.
        sections: in their order.
    """

    name: str
    subtitle: str
    verdict: Verdict
    sections: Sequence[Section]


def compose(bundle: Bundle) -> Report:
    """The report of a bundle, whose models are run on its own pictures."""
    manifest = bundle.manifest
    evidence = read_evidence(bundle)
    sections = [
        _precisions(bundle),
        _examples(bundle),
        _parity(bundle),
        _depth(evidence),
        _curve(evidence),
        _layers(evidence),
        _kept(manifest.models, evidence),
        _ranges(evidence),
        _weights(bundle),
        _compiler(manifest.models),
        _preprocessing(bundle),
        _lineage(manifest.lineage),
        _origin(bundle, evidence),
    ]
    return Report(
        name=manifest.name,
        subtitle=f"{manifest.architecture}, {described(bundle.task)}, {manifest.data.get('name', '')}",
        verdict=manifest.verdict,
        sections=[section for section in sections if section is not None],
    )


def read_evidence(bundle: Bundle) -> Evidence | None:
    """The measurements behind the models; None where there are none, or of an older schema."""
    try:
        return decode(Evidence, json.loads(bundle.evidence_bytes() or b"null"))
    except (ValueError, RecursionError):
        return None


def _precisions(bundle: Bundle) -> Section:
    rows = []
    for name, entry in bundle.manifest.models.items():
        accuracy = entry.accuracy
        value, drop = "not measured", ""
        if accuracy is not None:
            low, high = accuracy.ci95
            value = f"{accuracy.value:.2f} %"
            drop = f"{accuracy.drop:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append(
            (name, value, drop, _decibels(entry.parity.sqnr_db), _agreement(entry), _size(entry.bytes))
        )
    known = [entry.accuracy for entry in bundle.manifest.models.values() if entry.accuracy]
    metric = known[0].metric if known else "metric"
    text = f"{metric} on {known[0].samples} samples that calibrated nothing." if known else ""
    header = ("precision", metric, "points lost (95 % interval)", "SQNR", "agreement", "size")
    return Section("Precisions", text, table=Table(header, rows))


def _parity(bundle: Bundle) -> Section:
    rows = [
        (part.name, name, _decibels(part.sqnr_db), _number(part.relative_l2), _number(part.max_abs))
        for name, entry in bundle.manifest.models.items()
        for part in entry.parity.parts
    ]
    text = "Each part of each output against PyTorch's, relative to what the input changes in it."
    header = ("output", "precision", "SQNR", "relative error", "largest error")
    return Section("Parity", text, table=Table(header, rows))


def _depth(evidence: Evidence | None) -> Section | None:
    if evidence is None or not any(evidence.depth.values()):
        return None
    rows = [
        (precision, error.node, _number(error.relative))
        for precision, errors in evidence.depth.items()
        for error in errors
    ]
    chart = depth_chart({name: [e.relative for e in errors] for name, errors in evidence.depth.items()})
    text = "How the error against float32 grows from the input to the outputs."
    table = Table(("precision", "layer", "relative error"), rows)
    return Section("Error by depth", text, chart, table, folded=True)


def _curve(evidence: Evidence | None) -> Section | None:
    if evidence is None or len(evidence.tried) < 2:
        return None
    rows = [
        (
            ("taken: " if each.taken else "") + ("recovered" if each.recovered else "ranges alone"),
            str(each.float_layers),
            f"{each.float_traffic:.1%}",
            f"{each.drop:.2f}",
            _decibels(each.held_back_db),
        )
        for each in evidence.tried
    ]
    points = [(each.float_traffic, min(each.signal, DRAWABLE_DB), each.taken) for each in evidence.tried]
    text = "What was tried for INT8, on calibration inputs to which no weight was fitted."
    header = ("model", "float layers", "of the traffic", "points lost", "SQNR")
    return Section("Accuracy against cost", text, curve_chart(points), Table(header, rows))


def _layers(evidence: Evidence | None) -> Section | None:
    if evidence is None or not evidence.layers:
        return None
    bars = [(each.layer, each.error) for each in evidence.layers if each.error is not None]
    rows = [
        (each.layer, _number(each.error), f"{each.multiply_adds:,}", f"{each.elements:,}")
        for each in evidence.layers
    ]
    text = "The error at the outputs when one layer's inputs alone are in INT8."
    table = Table(("layer", "relative error", "multiply-adds", "elements moved"), rows)
    chart = bar_chart(bars, "relative error")
    return Section("Layers that suffer from INT8", text, chart, table, folded=True)


def _kept(models: Mapping[str, ModelEntry], evidence: Evidence | None) -> Section | None:
    reasons = {} if evidence is None else evidence.kept
    rows = [
        (name, node, precision, reasons[name][node].reason if node in reasons.get(name, {}) else "")
        for name, entry in models.items()
        for node, precision in entry.kept.items()
    ]
    if not rows:
        return None
    return Section("What stayed float, and why", table=Table(("model", "node", "computes in", "why"), rows))


def _ranges(evidence: Evidence | None) -> Section | None:
    if evidence is None or not evidence.ranges:
        return None
    rows = [(r.value, r.method, _number(r.low), _number(r.high)) for r in evidence.ranges]
    chart = range_chart([(r.low, r.high) for r in evidence.ranges])
    text = "Ranges of the activations that INT8 rounds."
    table = Table(("activation", "method", "low", "high"), rows)
    return Section("Activations", text, chart, table, folded=True)


def _weights(bundle: Bundle) -> Section:
    graph = parse_onnx(bundle.model_bytes("fp32"), "the float32 model").graph
    tensors = [t for t in graph.initializer if len(t.dims) > 1 and t.data_type == onnx.TensorProto.FLOAT]
    rows = []
    for tensor in tensors:
        values = array_of(tensor)
        shape = " x ".join(map(str, tensor.dims))
        rows.append((tensor.name, shape, _number(float(values.min())), _number(float(values.max()))))
    table = Table(("weight", "shape", "low", "high"), rows)
    return Section("Weights", f"Ranges of {len(rows)} float32 weights.", table=table, folded=True)


def _compiler(models: Mapping[str, ModelEntry]) -> Section:
    words = {True: "accepted", False: "refused", None: "not checked"}
    rows = [
        (name, entry.preflight.compiler or "none", words[entry.preflight.accepted], entry.preflight.message)
        for name, entry in models.items()
    ]
    return Section("NVIDIA's compiler", table=Table(("model", "compiler", "answer", "what it said"), rows))


def _preprocessing(bundle: Bundle) -> Section:
    spec, preprocess = bundle.manifest.input, bundle.manifest.preprocess
    sides = " x ".join(map(str, spec.shape))
    rows = [("input", f"{spec.name}: {spec.dtype}, {sides}")]
    if preprocess is not None:
        rows += [(key, str(value)) for key, value in encode(preprocess).items()]
    return Section("Preprocessing", table=Table(("step", "value"), rows))


def _lineage(lineage: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        tuple(str(each.get(key) or "") for key in ("stage", "sha256", "parent", "nodes", "bytes"))
        for each in lineage
    ]
    text = "Each model with the SHA-256 of its file, and that of the model it was made from."
    return Section("Lineage", text, table=Table(("stage", "SHA-256", "made from", "nodes", "bytes"), rows))


def _origin(bundle: Bundle, evidence: Evidence | None) -> Section:
    manifest = bundle.manifest
    rows = [
        ("command", _command(bundle, evidence)),
        *((f"weights: {key}", str(value)) for key, value in manifest.weights.items()),
        ("calibration samples", _samples(manifest.data.get("calibration"))),
        ("evaluation samples", _samples(manifest.data.get("evaluation"))),
        ("made", f"{manifest.created}, edgeproof {manifest.edgeproof}"),
        *((name, str(version)) for name, version in manifest.toolchain.items()),
    ]
    return Section("How to make it again", table=Table(("what", "value"), rows))


def _command(bundle: Bundle, evidence: Evidence | None) -> str:
    """The export's command, as far as the bundle knows it: files and folders by name."""
    manifest, weights = bundle.manifest, bundle.manifest.weights
    parts = ["edgeproof", "export", manifest.architecture, "--form", manifest.form]
    parts += ["--weights", str(weights.get("file") or weights.get("source", ""))]
    parts += ["--data", str(manifest.data.get("name", ""))]
    if evidence is not None:
        request = evidence.request
        parts += ["--precision", ",".join(request.precisions), "--target", request.target]
        parts += ["--max-drop", f"{request.max_drop:g}", "--recover", request.recover]
    return shlex.join(parts)


def _examples(bundle: Bundle) -> Section | None:
    golden = bundle.golden()
    if golden.pictures is None:
        return None
    manifest, task = bundle.manifest, bundle.task
    drawn: dict[str, list[Answer]] = {entry.file: [] for entry in manifest.pictures}
    for name in manifest.models:
        with Session(bundle.model_bytes(name)) as session:
            answers = [task.decode(session.run(_batch(session, one)))[0] for one in golden.pictures]
        for entry, answer in zip(manifest.pictures, answers, strict=True):
            picture = decode_image(io.BytesIO(bundle.picture_bytes(entry)), entry.file)
            geometry = manifest.preprocess.geometry(*picture.size) if manifest.preprocess else None
            view = View(manifest.labels, manifest.outputs, geometry, CLASSES_SHOWN)
            shown = picture if task.places_nothing else task.draw(picture, answer, view)
            drawn[entry.file].append(Answer(name, _data_url(shown), task.lines(answer, view)))
    examples = [Example(file, answers) for file, answers in drawn.items()]
    return Section("Answers", "The bundle's own pictures, answered by each precision.", examples=examples)


def _batch(session: Session, sample: NDArray[Any]) -> NDArray[Any]:
    """One sample, repeated where the model takes a fixed batch."""
    return np.repeat(sample[None], session.fixed_batch or 1, axis=0)


def _data_url(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    scale = PICTURE_SIDE / max(small.size)
    small = small.resize((max(1, round(small.width * scale)), max(1, round(small.height * scale))))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _samples(digest: Any) -> str:
    known = digest if isinstance(digest, Mapping) else {}
    return f"{known.get('count', 'unknown')}, SHA-256 {known.get('sha256', 'unknown')}"


def _agreement(entry: ModelEntry) -> str:
    share = entry.parity.agreement
    shown = "" if share is None else f"{share:.2%}"
    return shown if entry.parity.passed else f"{shown} FAILED: {entry.parity.reason}"


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f} dB"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _size(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"
