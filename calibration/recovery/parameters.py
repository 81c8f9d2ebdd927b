"""All that the writer of an INT8 graph needs, from ranges alone or from a recovered simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from ..passes.activation_shift import recenter
from ..passes.cross_layer_equalization import equalize, find_pairs, reach
from ..qdq.quantized_inputs import LAYERS_ONLY, Placement
from ..qdq.weight_scales import best_scales, on_grid
from ..ranges.statistics import Range
from .mixed_precision import Start
from .simulate import QuantizedGraph


@dataclass(frozen=True)
class Recipe:
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


def plain(start: Start) -> Recipe:
    """What the ranges alone give, with channels equalized and values moved."""
    even = equalize(start.source.model, start.limits)
    pairs = [pair for pair in find_pairs(start.source.model) if pair.value in start.limits]
    ends = {pair.value: reach(pair, start.limits[pair.value]) for pair in pairs}
    scaled = {name: Range(-end, end) for name, end in ends.items()}
    scales = best_scales(even, start.sites)
    source = recenter(on_grid(even, start.sites, scales), start.offsets)
    return Recipe(source, {**start.ranges, **scaled}, scales, placement=start.placement)


def recovered(start: Start, student: QuantizedGraph, kept_float: Mapping[str, str]) -> Recipe:
    """What a recovered simulation gives.

    Args:
        start: what it was made of.
        student: the simulation.
        kept_float: layers that stay float, by their first outputs, and why.
    """
    found = student.recovered()
    source = recenter(found.model, start.offsets)
    return Recipe(source, found.ranges, found.weight_scales, kept_float, start.placement)
