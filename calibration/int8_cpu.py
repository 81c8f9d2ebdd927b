"""INT8 for ONNX Runtime's CPU provider: ranges of least square error, and first layers float if need be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .artifact import OnnxArtifact
from .batches import CalibrationSet
from .choose import Choice
from .collect import Range, Statistics
from .int8 import Int8Request, Int8Result, layers_of
from .judge import Judge
from .progress import Stages
from .qdq.cpu import quantize_cpu
from .qdq.sites import find_sites, layers
from .ranges import AFFINE_INT8, mse_range

MOST_FLOAT = 4  # layers from the input on: their tensors are large, and float costs more the more there are


def make_int8_cpu(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    request: Int8Request,
    labels: NDArray[np.integer] | None = None,
    stages: Stages | None = None,
) -> Int8Result:
    """Quantize for ONNX Runtime's CPU kernels.

    If the answers change by more than the budget, the first layers stay float, one after the other: they see
    the widest tensors with the fewest channels, where one step size fits worst. Nothing is recovered.

    Args:
        artifact: a float32 model.
        samples: calibration inputs.
        statistics: what was found on them, with histograms of every float value.
        request: the budget; with `recover` "off" no layer stays float.
        labels: class of each calibration input, shape (N,), for the budget.
        stages: shows nothing: no step of this takes long.

    Raises:
        ModelError: the model cannot be quantized.
    """
    judge = Judge(artifact, samples, labels)
    ranges = {name: mse_range(histogram, AFFINE_INT8) for name, histogram in statistics.histograms.items()}
    choices = tuple(Choice(name, "mse", found, {}) for name, found in ranges.items())
    named = layers(find_sites(artifact.model))
    most = 0 if request.recover == "off" else min(MOST_FLOAT, len(named) - 1)
    best = _attempt(artifact, ranges, [], judge, choices)
    for count in range(1, most + 1):
        if best.drop <= request.max_drop:
            break
        found = _attempt(artifact, ranges, named[:count], judge, choices)
        best = found if found.drop < best.drop else best
    return best


def _attempt(
    artifact: OnnxArtifact,
    ranges: Mapping[str, Range],
    kept: list[str],
    judge: Judge,
    choices: tuple[Choice, ...],
) -> Int8Result:
    made = quantize_cpu(artifact, ranges, keep_float=kept)
    parity, drop = judge.judge(made)
    reasons = dict.fromkeys(kept, "one of the first layers")
    return Int8Result(
        made, parity, drop, choices, recovered=False, kept_float=reasons, layers=layers_of(artifact)
    )
