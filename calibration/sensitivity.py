"""`edgeproof sensitivity`: which layers of a model suffer from INT8, and how much each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..runtime.errors import ModelError
from ..runtime.tasks.outputs import specs_of
from .dataset.accuracy_drop import AccuracyDrop
from .dataset.load import CalibrationInputs
from .normalize.objective import objective
from .progress import Progress
from .qdq.quantized_inputs import LAYERS_ONLY, find_quantized_inputs
from .qdq.tensorrt import NOTHING_TO_QUANTIZE
from .recovery.channel_constants import with_constants
from .recovery.mixed_precision import least_error_plans
from .recovery.mixed_precision import rank as rank_layers
from .recovery.sensitivity import LayerSensitivity


def rank(inputs: CalibrationInputs, progress: Progress) -> list[LayerSensitivity]:
    """Every layer that INT8 for TensorRT rounds, with the error at the scores when it alone is rounded.

    Ranges are those of least square error, with channels equalized and values moved as `edgeproof quantize`
    does; nothing is recovered. The layers of squeeze-and-excitation gates are among them.

    Args:
        inputs: the model and its calibration inputs.
        progress: shows what goes on.

    Returns:
        The layers, the worst first.

    Raises:
        ModelError: the model has no such layer, or ONNX Runtime does not accept it.
        DataError: a value is NaN or Inf on the inputs.
    """
    samples, whole = inputs.samples, inputs.artifact.model
    answers = AccuracyDrop(whole, samples, inputs.task).outputs
    model = objective(whole, inputs.task.parts(specs_of(answers)), answers)
    artifact = replace(inputs.artifact, model=model)
    if not find_quantized_inputs(model):
        raise ModelError(NOTHING_TO_QUANTIZE)
    with progress.stage("calibrate"):
        artifact, _ = with_constants(artifact, samples, progress)
        (plan,) = least_error_plans(artifact, samples, progress, [LAYERS_ONLY])
    with progress.stage("rank"):
        return rank_layers(plan, samples, progress)


def summarize(ranked: Sequence[LayerSensitivity]) -> str:
    """The layers as a table."""
    lines = [" error   share  layer"]
    for layer, share in zip(ranked, _shares(ranked), strict=True):
        lines.append(f"{layer.error:6.4f}  {share:5.1%}  {layer.layer}")
    return "\n".join(lines)


def describe(ranked: Sequence[LayerSensitivity]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [
        {
            "node": layer.node,
            "layer": layer.layer,
            "relative_l2": layer.error,
            "share": share,
            "multiply_adds": layer.cost.multiply_adds,
            "elements": layer.cost.elements,
        }
        for layer, share in zip(ranked, _shares(ranked), strict=True)
    ]


def _shares(ranked: Sequence[LayerSensitivity]) -> list[float]:
    """Each layer's part of the sum of squares, which is about the square of the error of all together."""
    squares = [layer.error**2 for layer in ranked]
    return [square / (sum(squares) or 1.0) for square in squares]
