"""Ranges of a network for TensorRT, each chosen by what it does to the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..dataset.calibration_set import CalibrationSet
from ..dataset.load import CalibrationInputs
from ..onnx_graph.cost import multiply_adds
from ..onnx_graph.graph import initializers
from ..passes.activation_shift import centred, middle, worth_moving
from ..passes.cross_layer_equalization import Pair, channel_steps, clip_limit, find_pairs
from ..passes.range_search import Candidate, Choice, candidates, choose_ranges
from ..progress import Progress
from ..qdq.formats import along
from ..qdq.quantized_inputs import Placement, activations, find_quantized_inputs
from ..ranges.histogram import Histogram
from ..ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8
from ..ranges.statistics import Range
from ..recovery.mixed_precision import QuantizationPlan, equalized_channels

MIN_CHOOSING, MAX_CHOOSING = 8, 128  # samples: the fewer, the more outliers of unseen inputs are clipped
CHOOSING_COST = 5.1e11  # samples times tensors times multiply-adds: MobileNetV2 at 224x224 sees 32


def choose_plan(
    inputs: CalibrationInputs, histograms: Mapping[str, Histogram], placement: Placement, progress: Progress
) -> tuple[QuantizationPlan, tuple[Choice, ...]]:
    """Choose ranges, offsets and limits of channels.

    Args:
        inputs: a float32 model with room for factors and offsets, and its calibration inputs.
        histograms: of each value that is rounded.
        placement: what is done about the model's gates.
        progress: shows what goes on.
    """
    artifact, samples = inputs.artifact, inputs.samples
    sites = find_quantized_inputs(artifact.model, placement=placement)
    counted = {name: histograms[name] for name in activations(sites)}
    channels = equalized_channels(artifact, sites, samples, progress)
    movable = worth_moving(artifact.model, counted)
    limits = {name: found.limits() for name, found in channels.items()}
    options = {
        name: candidates(found, ACTIVATION_UINT8 if name in movable else ACTIVATION_INT8)
        for name, found in counted.items()
        if name not in channels
    }
    options |= _channel_candidates(artifact.model, limits)
    some = _choosing_samples(artifact.model, samples, len(counted))
    found = choose_ranges(artifact.model, sites, options, some)
    choices = tuple(progress.track(found, len(counted), "choosing ranges"))
    ranges = {choice.value: choice.range for choice in choices}
    offsets = {name: middle(ranges[name]) for name in movable}
    ranges |= {name: centred(ranges[name]) for name in movable}
    cut = {choice.value: limits[choice.value][choice.method] for choice in choices if choice.value in limits}
    return QuantizationPlan(artifact, sites, ranges, offsets, cut, placement), choices


def _channel_candidates(
    model: onnx.ModelProto, limits: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> dict[str, dict[str, Candidate]]:
    """Where the channels of each value that is equalized may be cut off."""
    pairs, weights = {pair.value: pair for pair in find_pairs(model)}, initializers(model)

    def candidate(pair: Pair, limit: NDArray[np.float64]) -> Candidate:
        end, rank = clip_limit(pair, limit), len(weights[pair.second.input[1]].dims)
        steps = along(1, channel_steps(pair, limit), rank)
        return Candidate(Range(-end, end), steps, ACTIVATION_INT8.lowest, ACTIVATION_INT8.highest)

    return {
        name: {way: candidate(pairs[name], limit) for way, limit in found.items()}
        for name, found in limits.items()
    }


def _choosing_samples(model: onnx.ModelProto, samples: CalibrationSet, tensors: int) -> NDArray[Any]:
    """As many calibration inputs as the number of tensors and the cost of a pass allow."""
    cost = tensors * multiply_adds(model, samples.sample(1).shape)
    count = int(CHOOSING_COST / max(1, cost))
    return samples.sample(min(MAX_CHOOSING, max(MIN_CHOOSING, count)))
