"""Ranges of a network for TensorRT, each chosen by what it does to the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..artifact import OnnxArtifact
from ..dataset.calibration_set import CalibrationSet
from ..dataset.load import CalibrationInputs
from ..onnx_graph.cost import multiply_adds
from ..onnx_graph.graph import initializers
from ..passes.activation_shift import centred, middle, worth_moving
from ..passes.cross_layer_equalization import ChannelStatistics, channel_steps, clip_limit, find_pairs
from ..passes.range_search import Choice, Rounding, choose_ranges, measure_effects
from ..progress import Progress
from ..qdq.formats import along
from ..qdq.quantized_inputs import Placement, QuantizedInput, activations, find_quantized_inputs
from ..ranges.histogram import Histogram
from ..ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8, IntegerFormat
from ..ranges.statistics import Range
from ..recovery.mixed_precision import QuantizationPlan, equalized_channels

MIN_CHOOSING, MAX_CHOOSING = 8, 32  # samples: fewer than 8 clip outliers of unseen inputs
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
    histograms = {name: histograms[name] for name in activations(sites)}
    some = _choosing_samples(artifact.model, samples, len(histograms))
    channels = equalized_channels(artifact, sites, samples, progress)
    movable = worth_moving(artifact.model, histograms)

    def choose(format_: IntegerFormat, names: Collection[str]) -> dict[str, Choice]:
        few = [site for site in sites if site.value in names]
        found = choose_ranges(artifact.model, few, histograms, some, format_)
        return {choice.value: choice for choice in progress.track(found, len(names), "choosing ranges")}

    fixed = choose(ACTIVATION_INT8, histograms.keys() - movable.keys() - channels.keys())
    moved = choose(ACTIVATION_UINT8, movable.keys())
    limits, cut = choose_limits(artifact, sites, channels, some)
    ranges = {name: choice.range for name, choice in {**fixed, **cut}.items()}
    ranges |= {name: centred(choice.range) for name, choice in moved.items()}
    offsets = {name: middle(choice.range) for name, choice in moved.items()}
    plan = QuantizationPlan(artifact, sites, ranges, offsets, limits, placement)
    return plan, (*fixed.values(), *cut.values(), *moved.values())


def choose_limits(
    artifact: OnnxArtifact,
    sites: Sequence[QuantizedInput],
    channels: Mapping[str, ChannelStatistics],
    samples: NDArray[Any],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Choice]]:
    """Where the channels of each value that is equalized are cut off, by its effect on the answers."""
    limits = {name: found.limits() for name, found in channels.items()}
    pairs, weights = {pair.value: pair for pair in find_pairs(artifact.model)}, initializers(artifact.model)

    def rounding(value: str, limit: NDArray[np.float64]) -> Rounding:
        rank = len(weights[pairs[value].second.input[1]].dims)
        steps = along(1, channel_steps(pairs[value], limit), rank)
        return Rounding(steps, ACTIVATION_INT8.lowest, ACTIVATION_INT8.highest)

    options = {
        name: {way: rounding(name, limit) for way, limit in found.items()} for name, found in limits.items()
    }
    few = [site for site in sites if site.value in channels]
    chosen: dict[str, NDArray[np.float64]] = {}
    choices: dict[str, Choice] = {}
    for effect in measure_effects(artifact.model, few, options, samples):
        name, way = effect.value, effect.best
        chosen[name] = limits[name][way]
        end = clip_limit(pairs[name], chosen[name])
        choices[name] = Choice(name, way, Range(-end, end), effect.errors)
    return chosen, choices


def _choosing_samples(model: onnx.ModelProto, samples: CalibrationSet, tensors: int) -> NDArray[Any]:
    """As many calibration inputs as the number of tensors and the cost of a pass allow."""
    cost = tensors * multiply_adds(model, samples.sample(1).shape)
    count = int(CHOOSING_COST / max(1, cost))
    return samples.sample(min(MAX_CHOOSING, max(MIN_CHOOSING, count)))
