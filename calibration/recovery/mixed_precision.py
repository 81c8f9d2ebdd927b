"""Recovers INT8 accuracy: sensitive layers stay float, the rest are re-fitted (GPTQ, bias correction)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import batches
from ..dataset.calibration_set import CalibrationSet
from ..passes.activation_shift import centred, middle, worth_moving
from ..passes.cross_layer_equalization import ChannelStatistics, channel_statistics, find_pairs
from ..progress import Progress
from ..qdq.quantized_inputs import (
    LAYERS_ONLY,
    Placement,
    QuantizedInput,
    activations,
    find_quantized_inputs,
    layers,
)
from ..ranges.integer_format import ACTIVATION_INT8
from ..ranges.methods import mse_range
from ..ranges.statistics import Range, collect_statistics
from .reconstruct import reconstruct
from .sensitivity import LayerSensitivity, by_gain, rank_layers
from .simulate import QuantizedGraph

RANKING_SAMPLES = 16
RECOVERY_ELEMENTS = 2e7  # samples times elements of an input that recovery sees: 128 at 224x224
GROWTH = 1.5  # of the number of layers that stay float, from one try to the next


@dataclass(frozen=True)
class QuantizationPlan:
    """The float model, and what calibration says of it: what the simulated INT8 graph is made of.

    Attributes:
        source: the float model.
        sites: its quantized inputs.
        ranges: range of each activation, around its offset.
        offsets: what is taken off the activations that can be moved.
        limits: largest magnitude of each channel that can be equalized.
        placement: what is done about the model's gates.
    """

    source: OnnxArtifact
    sites: list[QuantizedInput]
    ranges: Mapping[str, Range]
    offsets: Mapping[str, float]
    limits: Mapping[str, NDArray[np.float64]]
    placement: Placement = LAYERS_ONLY


def least_error_plans(
    artifact: OnnxArtifact, samples: CalibrationSet, progress: Progress, options: Sequence[Placement]
) -> list[QuantizationPlan]:
    """For each placement what calibration says of it, with ranges of least square error.

    Args:
        artifact: a float32 model.
        samples: calibration inputs.
        progress: shows what goes on.
        options: the placements.

    Raises:
        DataError: a value is NaN or Inf on the inputs.
    """
    model = artifact.model
    sites = {option: find_quantized_inputs(model, placement=option) for option in options}
    names = dict.fromkeys(name for found in sites.values() for name in activations(found))
    shown = batches(model, samples, progress, "calibrating")
    histograms = collect_statistics(model, shown, list(names)).histograms
    ranges = {name: mse_range(histogram, ACTIVATION_INT8) for name, histogram in histograms.items()}
    moved = worth_moving(model, histograms)
    ranges |= {name: centred(range_) for name, range_ in moved.items()}
    offsets = {name: middle(range_) for name, range_ in moved.items()}
    # A value that can be equalized has one reader, so it is no gate's: all placements have these limits.
    channels = equalized_channels(artifact, sites[options[0]], samples, progress)
    limits = {name: found.maxima for name, found in channels.items()}
    return [
        QuantizationPlan(artifact, found, ranges, offsets, limits, option) for option, found in sites.items()
    ]


@dataclass(frozen=True)
class Recovery:
    """A recovered graph.

    Attributes:
        student: the simulated INT8 graph, its weights and biases fitted.
        kept_float: layers that stay float, by first output, and why.
        ranked: every layer with its error, the worst first; empty where nothing was ranked yet.
    """

    student: QuantizedGraph
    kept_float: Mapping[str, str]
    ranked: tuple[LayerSensitivity, ...] = ()


def equalized_channels(
    artifact: OnnxArtifact, sites: list[QuantizedInput], samples: CalibrationSet, progress: Progress
) -> dict[str, ChannelStatistics]:
    """How large the channels of each value are that can be equalized."""
    read = Counter(site.value for site in sites)
    values = [pair.value for pair in find_pairs(artifact.model) if read[pair.value] == 1]
    shown = batches(artifact.model, samples, progress, "equalizing")
    return channel_statistics(artifact.model, values, shown)


def recoveries(
    plan: QuantizationPlan,
    float_share: float,
    max_float: float,
    samples: CalibrationSet,
    progress: Progress,
) -> Iterator[Recovery]:
    """Recovered graphs, each with more layers in float than the one before.

    Args:
        plan: what is quantized, and how.
        float_share: share of the layers, those with the largest errors, that stays float at first.
        max_float: share of them that may stay float at the last.
        samples: calibration inputs.
        progress: shows what goes on.
    """
    count, most = (int(share * len(layers(plan.sites))) for share in (float_share, max_float))
    count = min(count, most)
    if not count:
        yield Recovery(reconstructed(plan, samples, progress), {})
    if not most:
        return
    ranked = rank(plan, samples, progress)
    order = by_gain(ranked)
    count = count or 1
    while count <= most:
        kept = _reasons(order[:count])
        mixed = replace(plan, sites=find_quantized_inputs(plan.source.model, kept, plan.placement))
        yield Recovery(reconstructed(mixed, samples, progress), kept, tuple(ranked))
        count = ceil(GROWTH * count)


def simulated(plan: QuantizationPlan) -> QuantizedGraph:
    """The simulated INT8 graph, before anything is recovered."""
    return QuantizedGraph(plan.source.model, plan.sites, plan.ranges, plan.limits, plan.offsets)


def reconstructed(plan: QuantizationPlan, samples: CalibrationSet, progress: Progress) -> QuantizedGraph:
    """The simulated INT8 graph, its weights and biases fitted to the calibration inputs."""
    student = simulated(plan)
    some = samples.sample(max(1, int(RECOVERY_ELEMENTS / samples.sample(1).size)))
    reconstruct(student, some, lambda nodes: progress.track(nodes, len(nodes), "recovering"))
    return student


def rank(plan: QuantizationPlan, samples: CalibrationSet, progress: Progress) -> list[LayerSensitivity]:
    """Every layer with the error that its rounded inputs give on some calibration inputs, the worst first.

    Its weights stay float: what they lose is mostly made up for when they are fitted. Nothing is fitted for
    the ranking: a bias that makes up for the layers before would be an error of its own where these are
    float.
    """
    inputs = [site for site in plan.sites if site.axis is None]
    student = simulated(replace(plan, sites=inputs))
    some, count = samples.sample(RANKING_SAMPLES), len(student.layers)
    return rank_layers(student, some, lambda layers: progress.track(layers, count, "ranking layers"))


def _reasons(ranked: list[LayerSensitivity]) -> dict[str, str]:
    return {
        layer.node: f"its inputs alone in INT8 give a relative error of {layer.error:.3f}" for layer in ranked
    }
