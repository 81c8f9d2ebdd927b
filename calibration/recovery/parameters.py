"""All that the writer of an INT8 graph needs, from ranges alone or from a recovered simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from ..passes.activation_shift import shift_activations
from ..passes.cross_layer_equalization import clip_limit, equalize, find_pairs
from ..qdq.quantized_inputs import LAYERS_ONLY, Placement
from ..qdq.weight_scales import best_scales, on_grid
from ..ranges.statistics import Range
from .mixed_precision import QuantizationPlan
from .simulate import QuantizedGraph


@dataclass(frozen=True)
class QuantizationParams:
    """What the writer of an INT8 graph needs.

    Attributes:
        source: the float graph that is quantized.
        ranges: range of each activation.
        weight_scales: chosen step sizes by initializer; the others reach to the largest magnitude.
        kept_float: layers that stay float, by their first outputs, and why.
        placement: what is done about the model's gates.
    """

    source: onnx.ModelProto
    ranges: Mapping[str, Range]
    weight_scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    kept_float: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = LAYERS_ONLY


def baseline(plan: QuantizationPlan) -> QuantizationParams:
    """What the ranges alone give, with channels equalized and values moved."""
    even = equalize(plan.source.model, plan.limits)
    pairs = [pair for pair in find_pairs(plan.source.model) if pair.value in plan.limits]
    ends = {pair.value: clip_limit(pair, plan.limits[pair.value]) for pair in pairs}
    scaled = {name: Range(-end, end) for name, end in ends.items()}
    scales = best_scales(even, plan.sites)
    source = shift_activations(on_grid(even, plan.sites, scales), plan.offsets)
    return QuantizationParams(source, {**plan.ranges, **scaled}, scales, placement=plan.placement)


def recovered(
    plan: QuantizationPlan, student: QuantizedGraph, kept_float: Mapping[str, str]
) -> QuantizationParams:
    """What a recovered simulation gives.

    Args:
        plan: what it was made of.
        student: the simulation.
        kept_float: layers that stay float, by their first outputs, and why.
    """
    found = student.recovered()
    source = shift_activations(found.model, plan.offsets)
    return QuantizationParams(source, found.ranges, found.weight_scales, kept_float, plan.placement)
