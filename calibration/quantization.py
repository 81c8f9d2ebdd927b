"""`edgeproof quantize`: any ONNX model to INT8, judged against itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from ..runtime.bundle.parity import PartError
from ..runtime.bundle.preprocess import Preprocess
from ..runtime.errors import AccuracyError, OutputError
from ..runtime.files import publish_file
from ..runtime.records import encode
from ..runtime.tasks.base import Task
from ..runtime.tasks.registry import parse_task
from .dataset.accuracy_drop import AccuracyDrop
from .dataset.calibration_set import CalibrationSet
from .dataset.load import AS_DECLARED, CalibrationInputs, InputShape, read_inputs
from .passes.uint8_input import pixels_of, with_uint8_input
from .passes.uint8_request import Uint8Request, served_preprocess
from .progress import Progress
from .qdq.quantized_inputs import activations, find_quantized_inputs
from .ranges.trt_cache import read_calibration_cache
from .targets.base import Attempt, Int8Request, Int8Result, Target
from .targets.quantizer import make_int8, make_int8_with
from .targets.registry import find_target


@dataclass(frozen=True)
class QuantizeRequest:
    """What `edgeproof quantize` is asked for.

    Attributes:
        model: an ONNX file, a bundle, whose float32 model is taken, or an ONNX model in memory.
        calibration: preprocessed inputs, shape (N, ...), in an array, a .npz or a .npy file; or `images:DIR`.
        out: the ONNX file to write; None to write none.
        int8: the budget and what may be done to hold it.
        target: what the INT8 model is made for: "tensorrt" (float16 where INT8 is not), "tensorrt-fp32" or
            "cpu".
        preprocess: how the inputs are made of pictures, for `images:DIR` and for pixels; None for the
            bundle's own.
        task: what the answers mean, such as "segmentation,threshold=0.3" or "detection:yolov8", or a `Task`;
            None for a bundle's own, or for what the model's outputs suggest.
        shape: of the input, where the file leaves it open or states another.
        judge: inputs that judge the result, in the forms of `calibration`; None to hold a quarter of the
            calibration inputs back, drawn by seed.
        scales: a TensorRT calibration cache whose scales are taken as they are; None to find better ones.
        uint8: asks for a model that takes pixels; None for one that takes what the float model takes.
    """

    model: str | Path | onnx.ModelProto
    calibration: str | Path | NDArray[Any]
    out: str | Path | None = None
    int8: Int8Request = field(default_factory=Int8Request)
    target: str = "tensorrt"
    preprocess: Preprocess | None = None
    task: Task | str | None = None
    shape: InputShape = AS_DECLARED
    judge: str | Path | NDArray[Any] | None = None
    scales: str | Path | None = None
    uint8: Uint8Request | None = None


def quantize(request: QuantizeRequest, progress: Progress | None = None) -> Int8Result:
    """Quantize an ONNX model, prove the result on inputs that did not calibrate it, and write it.

    Without labels every answer that INT8 changes counts against the budget: the drop of the metric is never
    more. The error of a model that ends in a Softmax or Sigmoid is that of the logits before it.

    Args:
        request: what is asked for.
        progress: shows what goes on; None for silence.

    Returns:
        The INT8 model, its parity with the float32 model, and how it came about.

    Raises:
        InputError: the model, the inputs or the output cannot be used.
        ParityError: the model in normal form does not answer as it did.
        AccuracyError: the budget does not hold; nothing is written.
    """
    target, progress = find_target(request.target), progress or Progress(quiet=True)
    if request.out is None:
        return _proven(request, target, progress)
    if Path(request.out).is_dir():
        raise OutputError(f"The output {request.out} is a folder.", todo="name a file: --out FILE.onnx")
    with publish_file(
        Path(request.out)
    ) as draft:  # before the work: a place that cannot be written is found now
        result = _proven(request, target, progress)
        draft.write_bytes(result.artifact.data)
    return result


def _proven(request: QuantizeRequest, target: Target, progress: Progress) -> Int8Result:
    task = parse_task(request.task) if isinstance(request.task, str) else request.task
    inputs = read_inputs(
        request.model,
        request.calibration,
        request.preprocess,
        progress,
        task=task,
        judge=request.judge,
        shape=request.shape,
    )
    served = served_preprocess(request.uint8, inputs.preprocess) if request.uint8 else None
    result = _quantized(request, target, inputs, progress)
    with progress.stage("judge"):
        result = _judged(result, inputs, served)
    if not result.parity or result.drop > request.int8.max_drop:
        raise AccuracyError(
            "INT8 does not keep this model's answers.",
            wanted=f"at most {request.int8.max_drop:g} points of {result.accuracy.metric} lost",
            got=result.parity.reason or _cost(result),
            available=_curve(result.tried),
            todo="ship FP16, give more calibration inputs, or allow more with --max-drop",
        )
    return result


def _quantized(
    request: QuantizeRequest, target: Target, inputs: CalibrationInputs, progress: Progress
) -> Int8Result:
    ranges = None
    if request.scales is not None:
        ranges = read_calibration_cache(
            Path(request.scales), activations(find_quantized_inputs(inputs.artifact.model))
        )
    with progress.stage("calibrate"):
        statistics = target.calibrate(inputs, progress)
    with progress.stage("int8"):
        if ranges is not None:
            return make_int8_with(target, inputs, statistics, ranges)
        return make_int8(target, inputs, statistics, request.int8, progress)


def _judged(result: Int8Result, inputs: CalibrationInputs, served: Preprocess | None) -> Int8Result:
    """The result by inputs that did not calibrate it; made for pixels first, where that was asked for."""
    samples = inputs.judging or inputs.samples
    evaluation = AccuracyDrop(inputs.artifact.model, samples, inputs.task)
    if served is None:
        judged = evaluation.measure(result.artifact.model)
        return replace(result, parity=judged.parity, accuracy=judged.accuracy)
    trained = inputs.preprocess
    if trained is None:
        raise AssertionError("served_preprocess refuses tensors")
    model = with_uint8_input(result.artifact.model, trained, served)
    pixels = CalibrationSet(
        lambda positions: pixels_of(samples.read(positions), trained, served), samples.count, samples.sha256
    )
    judged = evaluation.measure(model, pixels)
    artifact = result.artifact.derive(model, "uint8-input", "int8")
    return replace(result, artifact=artifact, parity=judged.parity, accuracy=judged.accuracy)


def _cost(result: Int8Result) -> str:
    """What INT8 costs, with its interval, in words."""
    accuracy = result.accuracy
    low, high = accuracy.ci95
    return (
        f"{accuracy.metric} {accuracy.value:.2f} %: {accuracy.drop:.2f} points lost "
        f"(95 % interval {low:.2f} to {high:.2f}) on {accuracy.samples} inputs that did not calibrate it"
    )


def summarize(result: Int8Result) -> str:
    """What came of it, in a few lines."""
    lines = [
        f"INT8: {result.quantized} of {result.layers} layers" + ("; recovered" if result.recovered else ""),
        f"  {_cost(result)}",
        *(f"  {part.name}: SQNR {_decibels(part)}" for part in result.parity.parts),
    ]
    if result.placement.tried:
        lines.append(f"  pairs around gates: {result.placement.name}: {result.placement.reason}")
    lines += [f"  {name} stays {kept.precision}: {kept.reason}" for name, kept in result.kept_float.items()]
    return "\n".join(lines)


def _decibels(part: PartError) -> str:
    return "exact" if part.sqnr_db is None and part.relative_l2 == 0 else f"{part.sqnr_db or 0:.1f} dB"


def describe(result: Int8Result) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "sha256": result.artifact.sha256,
        "layers": result.layers,
        "quantized": result.quantized,
        "kept_float": encode(result.kept_float),
        "placement": encode(result.placement),
        "recovered": result.recovered,
        "curve": encode(result.curve),
        "changed_percent": result.drop,
        "accuracy": encode(result.accuracy),
        "parity": encode(result.parity),
        "ranges": {
            choice.value: {"method": choice.method, "low": choice.range.low, "high": choice.range.high}
            for choice in result.choices
        },
    }


def _curve(tried: Sequence[Attempt]) -> str:
    """What each number of float layers cost on the calibration inputs; empty where only one was tried."""
    points = [
        f"{attempt.float_layers} float layers ({attempt.float_traffic:.0%} of the traffic) lose "
        f"{attempt.drop:.2f} points" + ("" if attempt.recovered else ", not recovered")
        for attempt in tried
    ]
    return "; ".join(points) + " on the calibration inputs" if len(points) > 1 else ""
