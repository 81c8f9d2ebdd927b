"""INT8 for TensorRT: symmetric ranges, chosen by their effect on the answers; Q/DQ pairs placed by trial.

Channels are equalized and values moved where that is free.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.session.session import load_onnxruntime
from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import batches
from ..dataset.calibration_set import CalibrationSet
from ..dataset.load import CalibrationInputs
from ..onnx_graph.cost import multiply_adds
from ..onnx_graph.graph import initializers
from ..passes.activation_shift import centred, find_subtracted, middle, with_offsets, worth_moving
from ..passes.channel_factors import with_channel_factors
from ..passes.cross_layer_equalization import ChannelStatistics, channel_steps, clip_limit, find_pairs
from ..passes.float_rest import Mixed, float16_rest, float32_rest, require_rounding
from ..passes.pointwise import without_neutral_constants
from ..passes.range_search import Choice, Rounding, choose_ranges, measure_effects
from ..passes.smoothing import smooth
from ..progress import Progress
from ..qdq.formats import along
from ..qdq.placement import PlacementChoice, activations_of_all
from ..qdq.quantized_inputs import Placement, QuantizedInput, activations, find_quantized_inputs
from ..qdq.tensorrt import quantize_tensorrt
from ..ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8, IntegerFormat
from ..ranges.statistics import Range, Statistics, collect_statistics
from ..recovery.mixed_precision import QuantizationPlan, Recovery, equalized_channels
from ..recovery.parameters import QuantizationParams, baseline, recovered
from .base import Target
from .placement_trial import choose_placement

MIN_CHOOSING, MAX_CHOOSING = 8, 32  # samples: fewer than 8 clip outliers of unseen inputs
CHOOSING_COST = 5.1e11  # samples times tensors times multiply-adds: MobileNetV2 at 224x224 sees 32


class TensorRTTarget(Target):
    """Q/DQ pairs around float16 operators: the graph itself says every precision."""

    name = "tensorrt"
    compiled = True
    float_share = 0.06

    def require_judge(self) -> None:
        """ONNX Runtime must round float16 beside Q/DQ pairs, as TensorRT does."""
        require_rounding(load_onnxruntime().__version__)

    def counted(self, model: onnx.ModelProto) -> list[str]:
        """The activations that any placement quantizes."""
        return activations_of_all(model)

    def plan(self, inputs: CalibrationInputs, statistics: Statistics, progress: Progress) -> TensorRTPlan:
        """The placement by trial, then the ranges by their effect on the answers."""

        def write(plan: QuantizationPlan) -> Mixed:
            return self.write(baseline(plan), statistics.ranges, {})

        inputs, statistics = _with_constants(inputs, statistics, progress)
        placement, chosen = choose_placement(inputs, write, progress)
        quantization, choices = _prepare(inputs, statistics, placement, progress)
        return TensorRTPlan(quantization, choices, chosen)

    def plan_given(self, inputs: CalibrationInputs, ranges: Mapping[str, Range]) -> QuantizationParams:
        """The ranges as they are: nothing is equalized or moved."""
        return QuantizationParams(inputs.artifact.model, ranges)

    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """Q/DQ pairs; what INT8 leaves float becomes float16, but for what float16 cannot hold."""
        return float16_rest(_write(params), ranges, reasons)


class Float32TensorRTTarget(TensorRTTarget):
    """The same with float32 operators beside the Q/DQ pairs."""

    name = "tensorrt-fp32"

    def require_judge(self) -> None:
        """Every ONNX Runtime computes float32 beside Q/DQ pairs as it should."""

    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """Q/DQ pairs; what INT8 leaves float stays float32."""
        return float32_rest(_write(params), reasons)


@dataclass(frozen=True)
class TensorRTPlan:
    """How one network is quantized for TensorRT.

    Attributes:
        quantization: ranges, offsets and channel limits.
        choices: of the activations' ranges.
        placement: how it was chosen.
    """

    quantization: QuantizationPlan
    choices: tuple[Choice, ...]
    placement: PlacementChoice

    def baseline(self) -> QuantizationParams:
        """What the ranges alone give, with channels equalized and values moved."""
        return baseline(self.quantization)

    def recovery_plan(self) -> QuantizationPlan:
        """The same ranges, offsets and limits."""
        return self.quantization

    def recovered(self, recovery: Recovery) -> QuantizationParams:
        """What a recovered graph gives."""
        return recovered(self.quantization, recovery.student, recovery.kept_float)


def _with_constants(
    inputs: CalibrationInputs, statistics: Statistics, progress: Progress
) -> tuple[CalibrationInputs, Statistics]:
    """The model with its activations smoothed, and with factors and offsets that are to be filled in."""
    model, samples = inputs.artifact.model, inputs.samples
    shown = batches(model, samples, progress, "smoothing")
    scaled = with_channel_factors(smooth(model, find_quantized_inputs(model), shown))
    histograms = statistics.histograms
    if scaled is not model:
        shown = batches(scaled, samples, progress, "calibrating")
        histograms = collect_statistics(scaled, shown, activations_of_all(scaled)).histograms
    moved = with_offsets(scaled, histograms)
    behind = {node.output[0]: histograms[node.input[0]] for node in find_subtracted(moved)}
    counted = replace(statistics, histograms={**histograms, **behind})
    return replace(inputs, artifact=replace(inputs.artifact, model=moved)), counted


def _write(params: QuantizationParams) -> onnx.ModelProto:
    params = replace(params, source=without_neutral_constants(params.source))
    sites = find_quantized_inputs(params.source, params.kept_float, params.placement)
    quantized = {site.value for site in sites if site.axis is not None}
    scales = {name: scale for name, scale in params.weight_scales.items() if name in quantized}
    return quantize_tensorrt(
        params.source,
        params.ranges,
        weight_scales=scales,
        keep_float=params.kept_float,
        placement=params.placement,
    )


def _prepare(
    inputs: CalibrationInputs, statistics: Statistics, placement: Placement, progress: Progress
) -> tuple[QuantizationPlan, tuple[Choice, ...]]:
    """Choose the ranges, and move the values that then have twice the levels."""
    artifact, samples = inputs.artifact, inputs.samples
    sites = find_quantized_inputs(artifact.model, placement=placement)
    histograms = {name: statistics.histograms[name] for name in activations(sites)}
    some = _choosing_samples(artifact.model, samples, len(histograms))
    channels = equalized_channels(artifact, sites, samples, progress)
    movable = worth_moving(artifact.model, histograms)

    def choose(format_: IntegerFormat, names: Collection[str]) -> dict[str, Choice]:
        few = [site for site in sites if site.value in names]
        found = choose_ranges(artifact.model, few, histograms, some, format_)
        return {choice.value: choice for choice in progress.track(found, len(names), "choosing ranges")}

    fixed = choose(ACTIVATION_INT8, histograms.keys() - movable.keys() - channels.keys())
    moved = choose(ACTIVATION_UINT8, movable.keys())
    limits, cut = _choose_limits(artifact, sites, channels, some)
    ranges = {name: choice.range for name, choice in {**fixed, **cut}.items()}
    ranges |= {name: centred(choice.range) for name, choice in moved.items()}
    offsets = {name: middle(choice.range) for name, choice in moved.items()}
    plan = QuantizationPlan(artifact, sites, ranges, offsets, limits, placement)
    return plan, (*fixed.values(), *cut.values(), *moved.values())


def _choose_limits(
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
    effects = list(measure_effects(artifact.model, few, options, samples))
    chosen = {effect.value: limits[effect.value][effect.best] for effect in effects}
    ends = {name: clip_limit(pairs[name], limit) for name, limit in chosen.items()}
    return chosen, {
        effect.value: Choice(
            effect.value, effect.best, Range(-ends[effect.value], ends[effect.value]), effect.errors
        )
        for effect in effects
    }


def _choosing_samples(model: onnx.ModelProto, samples: CalibrationSet, tensors: int) -> NDArray[Any]:
    """As many calibration inputs as the number of tensors and the cost of a pass allow."""
    cost = tensors * multiply_adds(model, samples.sample(1).shape)
    count = int(CHOOSING_COST / max(1, cost))
    return samples.sample(min(MAX_CHOOSING, max(MIN_CHOOSING, count)))
