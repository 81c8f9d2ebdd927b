"""The way from a PyTorch model to a proven bundle: every stage, its proof, then one atomic publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..calibration.artifact import OnnxArtifact
from ..calibration.dataset.calibration_set import CalibrationSet
from ..calibration.passes.fp16 import convert_to_fp16
from ..calibration.passes.uint8_request import Uint8Request, served_preprocess
from ..calibration.preflight.check import is_installed, preflight
from ..calibration.preflight.handed_over import GROWTH, preflight_handed_over
from ..calibration.progress import Progress
from ..calibration.ranges.statistics import Statistics
from ..calibration.targets.base import find_target
from ..calibration.targets.tensorrt import Int8Request, as_recover
from ..runtime.bundle.bundle import Bundle, is_bundle
from ..runtime.bundle.manifest import PRECISIONS, FloatPrecision
from ..runtime.bundle.preprocess import Preprocess
from ..runtime.errors import InputError, ModelError
from ..runtime.files import ensure_can_publish, sha256_bytes
from .data.dataset import Split, seeded_subset
from .models.spec import Shape
from .pretrained.weights import from_demo, from_factory, from_file, from_imagenet, from_random
from .sources.resolve import check_preprocess, fit
from .stages.accuracy import Shown, evaluate
from .stages.evidence import Asked, Evidence, Kept, gather
from .stages.feed import Feed
from .stages.golden_pictures import GoldenPicture, record_pictures, surest
from .stages.parity import Reference, measure, prove, torch_answers
from .stages.pixels import check_resizing, pixel_reference, take_pixels
from .stages.publish import Outcome, Proven, Subject, decide, publish
from .stages.simplify import simplify
from .stages.torch_onnx import OUTPUT, export_onnx

PARITY_SAMPLES = 32


@dataclass(frozen=True)
class ExportRequest:
    """What `edgeproof export` is asked for.

    Attributes:
        model: registry name, torchvision name, `package.module:factory` or `file.py:factory`.
        out: folder of the bundle.
        weights: "demo", "imagenet", "random", "factory", or a file.
        data: name of a data set, or `imagefolder:DIR`; None for the architecture's own.
        form: "standard" or "small"; None for the one that suits the data.
        options: hyper-parameters of the architecture, as typed.
        precisions: any of fp32, fp16, int8; fp32 always, because the others are judged against it.
        input_shape: (channels, height, width) instead of the form's own; None for that.
        preprocess: instead of that of the weights or the data set; None for that.
        max_drop: largest drop of top-1, in percentage points, at which INT8 is shipped.
        target: what INT8 is made for: "tensorrt" (float16 where INT8 is not), "tensorrt-fp32" or "cpu".
        recover: when INT8 is recovered: "auto" where the drop asks for it, "always" or "off".
        evaluation: largest number of pictures that judge.
        uint8: asks for models that take pixels; None for models that take what the network takes.
        force: whether a bundle at `out` may be replaced.
    """

    model: str
    out: Path
    weights: str = "demo"
    data: str | None = None
    form: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = PRECISIONS
    input_shape: Shape | None = None
    preprocess: Preprocess | None = None
    max_drop: float = 1.0
    target: str = "tensorrt"
    recover: str = "auto"
    evaluation: int = 2000
    uint8: Uint8Request | None = None
    force: bool = False


@dataclass(frozen=True)
class Calibration:
    """The inputs that calibrate, and the class of each, shape (N,), for the budget alone."""

    samples: CalibrationSet
    labels: NDArray[np.int64]


def export_bundle(request: ExportRequest, progress: Progress) -> Bundle:
    """Carry a model through every stage and publish the bundle.

    Raises:
        InputError: the request, the weights, the data or the output cannot be used.
        ProofError: a stage's proof failed; nothing is published.
    """
    _check_request(request)
    with progress.stage("weights"):
        subject = _prepare(request, progress)
        feed = _feed(request, subject)
    with progress.stage("samples"):
        calibration = _calibration(subject)
        compared = _parity_samples(subject.data.evaluation)
        inputs, shown = feed.both(compared)
        outputs = torch_answers(subject.trained.network, inputs)
        _check_classes(outputs[OUTPUT], subject)
        pictures = _pictures(subject, feed, compared, outputs[OUTPUT])
    with progress.stage("export"):
        exported = export_onnx(subject.trained.network, inputs)
    reference = Reference(inputs, outputs, exported.program)
    with progress.stage("parity"):
        prove(exported.artifact, reference)
    with progress.stage("simplify"):
        artifact = simplify(exported.artifact)
        proven = {"fp32": Proven(artifact, prove(artifact, reference))}
    proven |= _lower(request, artifact, calibration, reference, progress)
    ancestors = (exported.artifact,)
    if request.uint8:
        ancestors += tuple(entry.artifact for entry in proven.values())
        reference = pixel_reference(subject.trained.network, feed, reference, shown)
        with progress.stage("uint8-input"):
            proven = take_pixels(proven, feed, reference)
    proven |= _preflight(_for_tensorrt(request, proven), progress)
    with progress.stage("accuracy"):
        judges = _judges(subject.data.evaluation, request.evaluation, progress)
        models = {name: entry.artifact for name, entry in proven.items()}
        evaluation = evaluate(subject.trained.network, models, judges, feed, progress)
    check_resizing(feed, evaluation.accuracy["fp32"], request.max_drop)
    verdict = decide(
        {name: (p.parity, evaluation.accuracy[name]) for name, p in proven.items()}, request.max_drop
    )
    calibrated = Shown(len(calibration.samples), calibration.samples.sha256)
    outcome = Outcome(
        subject=replace(subject, preprocess=feed.served),
        proven=proven,
        reference=reference,
        pictures=pictures,
        calibration=calibrated,
        evaluation=evaluation,
        ancestors=ancestors,
        evidence=_evidence(request, proven, (len(calibration.samples), len(inputs), evaluation.shown.count)),
    )
    with progress.stage("bundle"):
        return publish(request.out, outcome, verdict, dict(progress.seconds))


def _check_request(request: ExportRequest) -> None:
    """Refuse what cannot succeed before minutes are spent on it."""
    as_recover(request.recover)
    if "int8" in request.precisions:
        find_target(request.target).require_judge()
    else:
        find_target(request.target)
    unknown = [name for name in request.precisions if name not in PRECISIONS]
    if unknown or "fp32" not in request.precisions:
        raise InputError(
            "These precisions cannot be exported.",
            wanted="fp32, which judges the others, and any of fp16 and int8",
            got=",".join(request.precisions),
            todo="--precision fp32,fp16,int8",
        )
    ensure_can_publish(request.out, force=request.force, replaceable=is_bundle, what="an edgeproof bundle")


def _prepare(request: ExportRequest, progress: Progress) -> Subject:
    standard = "standard" if request.weights == "imagenet" else None
    found = fit(request.model, request.data, request.form or standard, request.options, request.input_shape)
    spec, form, data = found.spec, found.form, found.data
    usual = request.preprocess or data.preprocess(form.input_shape)
    if request.weights == "demo":
        trained = from_demo(spec, form, data, usual, progress)
    elif request.weights == "imagenet":
        trained = from_imagenet(spec, form)
    elif request.weights == "random":
        trained = from_random(form, data, usual)
    elif request.weights == "factory":
        trained = from_factory(form, len(data.labels))
    else:
        trained = from_file(form, Path(request.weights).expanduser(), len(data.labels))
    preprocess = request.preprocess or trained.preprocess or usual
    check_preprocess(form, preprocess)
    return Subject(spec, form, trained, data, preprocess)


def _calibration(subject: Subject) -> Calibration:
    split = subject.data.calibration
    inputs = split.tensor(subject.preprocess)
    samples = CalibrationSet(lambda positions: inputs[positions], len(inputs), sha256_bytes(inputs.tobytes()))
    return Calibration(samples, split.labels)


def _feed(request: ExportRequest, subject: Subject) -> Feed:
    trained = subject.preprocess
    return Feed(trained, served_preprocess(request.uint8, trained) if request.uint8 else trained)


def _parity_samples(evaluation: Split) -> Split:
    return evaluation.take(seeded_subset(len(evaluation), PARITY_SAMPLES))


def _pictures(
    subject: Subject, feed: Feed, split: Split, scores: NDArray[np.floating]
) -> tuple[GoldenPicture, ...]:
    """A few of the split's pictures as `verify` reads them; none where it holds tensors."""
    if feed.served is None:
        return ()
    samples = [split.load(position) for position in surest(scores)]
    images = [sample for sample in samples if isinstance(sample, Image.Image)]

    def answers(shown: NDArray[Any]) -> NDArray[np.floating]:
        return torch_answers(subject.trained.network, feed.trained_inputs(shown))[OUTPUT]

    return record_pictures(images, feed.served, answers, subject.labels)


def _check_classes(scores: NDArray[Any], subject: Subject) -> None:
    classes = len(subject.data.labels)
    if scores.ndim != 2 or scores.shape[1] != classes:
        raise ModelError(
            f"The model's output does not fit the data set {subject.data.name}.",
            wanted=f"shape (N, {classes}), one score a class",
            got=f"shape {('N', *scores.shape[1:])}",
            todo="give the data set that the model was trained on with --data, or a class_index.json that "
            "names all of the model's classes",
        )


def _lower(
    request: ExportRequest,
    artifact: OnnxArtifact,
    shown: Calibration,
    reference: Reference,
    progress: Progress,
) -> dict[str, Proven]:
    """The lower precisions asked for. FP16 must hold; INT8 is measured, and the verdict judges it."""
    lowered: dict[str, Proven] = {}
    if not {"fp16", "int8"} & set(request.precisions):
        return lowered
    with progress.stage("calibrate"):
        statistics = find_target(request.target).calibrate(artifact, shown.samples, progress)
    if "fp16" in request.precisions:
        with progress.stage("fp16"):
            lowered["fp16"] = _to_fp16(artifact, statistics, reference, progress)
    if "int8" in request.precisions:
        with progress.stage("int8"):
            lowered["int8"] = _to_int8(request, artifact, shown, statistics, reference, progress)
    return lowered


def _to_fp16(
    artifact: OnnxArtifact, statistics: Statistics, reference: Reference, progress: Progress
) -> Proven:
    result = convert_to_fp16(artifact, statistics.ranges)
    for name, reason in result.kept_float32.items():
        progress.note(f"{name} stays float32: {reason}")
    kept: dict[str, FloatPrecision] = dict.fromkeys(result.kept_float32, "float32")
    return Proven(result.artifact, prove(result.artifact, reference), kept, result.kept_float32)


def _to_int8(
    request: ExportRequest,
    artifact: OnnxArtifact,
    shown: Calibration,
    statistics: Statistics,
    reference: Reference,
    progress: Progress,
) -> Proven:
    wanted = Int8Request(request.max_drop, as_recover(request.recover))
    make = find_target(request.target).make
    result = make(artifact, shown.samples, statistics, wanted, shown.labels, progress)
    if result.placement.tried:
        progress.note(f"pairs around gates: {result.placement.name}: {result.placement.reason}")
    if result.recovered:
        progress.note("weights and biases were fitted to what INT8 makes of their inputs")
    for name, layer in result.kept_float.items():
        progress.note(f"{name} stays {layer.precision}: {layer.reason}")
    kept = {name: layer.precision for name, layer in result.kept_float.items()}
    reasons = {name: layer.reason for name, layer in result.kept_float.items()}
    return Proven(result.artifact, measure(result.artifact, reference), kept, reasons, result)


def _for_tensorrt(request: ExportRequest, proven: Mapping[str, Proven]) -> dict[str, Proven]:
    """The models that TensorRT is to take: not the INT8 one for the CPU, which it refuses."""
    compiled = find_target(request.target).compiled
    return {name: entry for name, entry in proven.items() if compiled or name != "int8"}


def _preflight(proven: Mapping[str, Proven], progress: Progress) -> dict[str, Proven]:
    """Each precision with the word of NVIDIA's compiler, where there is one; a refusal stops the export."""
    if not is_installed():
        progress.note(
            'pre-flight: not checked, for want of NVIDIA\'s compiler (pip install "edgeproof[preflight]")'
        )
        return dict(proven)
    checked = {}
    with progress.stage("preflight"):
        for name, entry in proven.items():
            data = entry.artifact.data
            result = preflight(data)
            result.require(name)
            handed = preflight_handed_over(data, result)
            handed.require(name)
            if handed.growth > GROWTH:
                progress.note(f"{name}: {handed}")
            checked[name] = replace(entry, preflight=result.record(str(handed)))
    return checked


def _evidence(
    request: ExportRequest, proven: Mapping[str, Proven], samples: tuple[int, int, int]
) -> Evidence:
    """What the models came from; `samples` counts those that calibrated, compared and judged."""
    calibration, parity, evaluation = samples
    asked = Asked(
        precisions=request.precisions,
        target=request.target,
        max_drop=request.max_drop,
        recover=request.recover,
        calibration=calibration,
        parity=parity,
        evaluation=evaluation,
    )
    kept = {
        name: {node: Kept(precision, entry.reasons[node]) for node, precision in entry.kept.items()}
        for name, entry in proven.items()
    }
    return gather(asked, kept, proven["int8"].int8 if "int8" in proven else None)


def _judges(evaluation: Split, most: int, progress: Progress) -> Split:
    if len(evaluation) <= most:
        return evaluation
    progress.note(f"{most} of {len(evaluation)} pictures judge, chosen by seed (--evaluation N changes that)")
    return evaluation.take(seeded_subset(len(evaluation), most))
