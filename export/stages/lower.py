"""FP16 and INT8 from the simplified float32 model. FP16 must hold; INT8 is measured, the verdict decides."""

from __future__ import annotations

from ...calibration.artifact import OnnxArtifact
from ...calibration.dataset.load import CalibrationInputs
from ...calibration.passes.fp16 import convert_to_fp16
from ...calibration.progress import Progress
from ...calibration.ranges.statistics import Statistics
from ...calibration.targets.base import Int8Request, as_recover
from ...calibration.targets.quantizer import make_int8
from ...calibration.targets.registry import find_target
from ...runtime.bundle.manifest import FloatPrecision
from ..request import ExportRequest
from .parity import PrecisionResult, Reference, measure, prove


def lower(
    request: ExportRequest, inputs: CalibrationInputs, reference: Reference, progress: Progress
) -> dict[str, PrecisionResult]:
    """The lower precisions that were asked for, by name.

    Args:
        request: says which, and what INT8 may cost.
        inputs: the float32 model in normal form, and the samples that calibrate.
        reference: PyTorch's answers.
        progress: shows what goes on.

    Raises:
        ParityError: the FP16 model does not give PyTorch's answers.
        DataError: a value is NaN or Inf on the calibration inputs.
    """
    lowered: dict[str, PrecisionResult] = {}
    if not {"fp16", "int8"} & set(request.precisions):
        return lowered
    with progress.stage("calibrate"):
        statistics = find_target(request.target).calibrate(inputs, progress)
    if "fp16" in request.precisions:
        with progress.stage("fp16"):
            lowered["fp16"] = _to_fp16(inputs.artifact, statistics, reference, progress)
    if "int8" in request.precisions:
        with progress.stage("int8"):
            lowered["int8"] = _to_int8(request, inputs, statistics, reference, progress)
    return lowered


def _to_fp16(
    artifact: OnnxArtifact, statistics: Statistics, reference: Reference, progress: Progress
) -> PrecisionResult:
    result = convert_to_fp16(artifact.model, statistics.ranges)
    halved = artifact.derive(result.model, "fp16", "fp16")
    for name, reason in result.kept_float32.items():
        progress.note(f"{name} stays float32: {reason}")
    kept: dict[str, FloatPrecision] = dict.fromkeys(result.kept_float32, "float32")
    return PrecisionResult(halved, prove(halved, reference), kept, result.kept_float32)


def _to_int8(
    request: ExportRequest,
    inputs: CalibrationInputs,
    statistics: Statistics,
    reference: Reference,
    progress: Progress,
) -> PrecisionResult:
    wanted = Int8Request(request.max_drop, as_recover(request.recover), request.max_float)
    result = make_int8(find_target(request.target), inputs, statistics, wanted, progress)
    if result.placement.tried:
        progress.note(f"pairs around gates: {result.placement.name}: {result.placement.reason}")
    if result.recovered:
        progress.note("weights and biases were fitted to what INT8 makes of their inputs")
    for name, layer in result.kept_float.items():
        progress.note(f"{name} stays {layer.precision}: {layer.reason}")
    kept = {name: layer.precision for name, layer in result.kept_float.items()}
    reasons = {name: layer.reason for name, layer in result.kept_float.items()}
    return PrecisionResult(result.artifact, measure(result.artifact, reference), kept, reasons, result)
