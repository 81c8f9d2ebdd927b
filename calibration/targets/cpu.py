"""INT8 for ONNX Runtime's CPU provider: affine ranges of least square error, and recovery if need be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import Judge, shown
from ..dataset.calibration_set import CalibrationSet
from ..passes.cross_layer_equalization import equalize
from ..passes.kept import KeptLayer, name_of
from ..passes.range_search import Choice
from ..progress import Progress
from ..qdq.cpu import quantize_cpu
from ..qdq.placement import PlacementChoice
from ..qdq.quantized_inputs import LAYERS_ONLY, activations, find_sites, layers
from ..ranges.methods import AFFINE_INT8, mse_range
from ..ranges.statistics import Range, Statistics, collect_statistics
from ..recovery.mixed_precision import Start, equalization_limits, recoveries
from .tensorrt import Int8Request, Int8Result, hold_budget

if TYPE_CHECKING:
    from ..recovery.simulate import QuantizedGraph

FEW_FLOAT = 0.04  # share of the layers that stay float at once: each costs speed here


def make_int8_cpu(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    request: Int8Request,
    labels: NDArray[np.integer] | None = None,
    progress: Progress | None = None,
) -> Int8Result:
    """Quantize for ONNX Runtime's CPU kernels, and recover what that costs.

    If the answers change by more than the budget, channels are equalized, the layers that do most damage stay
    float, and the others' weights and biases are fitted to the rounded inputs.

    Args:
        artifact: a float32 model.
        samples: calibration inputs.
        statistics: what was found on them, with histograms of every float value.
        request: the budget; with `recover` "off" nothing is fitted and no layer stays float.
        labels: class of each calibration input, shape (N,), for the budget.
        progress: shows what goes on; None for silence.

    Raises:
        ModelError: the model cannot be quantized, or recovered where that is needed.
    """
    progress = progress or Progress(quiet=True)
    judge = Judge(artifact, samples, labels)
    ranges = _ranges(statistics)
    plain = _result(artifact, quantize_cpu(artifact, ranges), ranges, {}, judge)
    return hold_budget(request, plain, _recovered(artifact, samples, ranges, judge, progress))


def _recovered(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    ranges: Mapping[str, Range],
    judge: Judge,
    progress: Progress,
) -> Iterator[Int8Result]:
    even, ranges = _evened(artifact, samples, ranges, progress)
    for one in recoveries(_start(even, ranges), FEW_FLOAT, samples, progress):
        made = _write(artifact, even, ranges, one.student, one.kept_float)
        found = _result(artifact, made, ranges, one.kept_float, judge, recovered=True)
        yield replace(found, ranked=one.ranked)


def _ranges(statistics: Statistics) -> dict[str, Range]:
    return {name: mse_range(histogram, AFFINE_INT8) for name, histogram in statistics.histograms.items()}


def _evened(
    artifact: OnnxArtifact, samples: CalibrationSet, ranges: Mapping[str, Range], progress: Progress
) -> tuple[OnnxArtifact, Mapping[str, Range]]:
    """The model with its channels equalized, and the ranges of its values then."""
    limits = equalization_limits(artifact, find_sites(artifact.model), samples, progress)
    even = equalize(artifact, limits)
    if even is artifact:
        return artifact, ranges
    batches = shown(even, samples, progress, "calibrating")
    return even, _ranges(collect_statistics(even.model, batches, list(ranges)))


def _start(artifact: OnnxArtifact, ranges: Mapping[str, Range]) -> Start:
    """Affine ranges as what recovery simulates: symmetric ones around an offset."""
    sites = find_sites(artifact.model)
    offsets = {name: (ranges[name].low + ranges[name].high) / 2 for name in activations(sites)}
    around = {name: Range(ranges[name].low - at, ranges[name].high - at) for name, at in offsets.items()}
    return Start(artifact, sites, around, offsets, {})


def _write(
    artifact: OnnxArtifact,
    even: OnnxArtifact,
    ranges: Mapping[str, Range],
    student: QuantizedGraph,
    kept: Collection[str],
) -> OnnxArtifact:
    found = student.recovered()
    fitted = replace(even, model=found.model)
    made = quantize_cpu(fitted, ranges, weight_scales=found.weight_scales, keep_float=kept)
    return artifact.derive(made.model, "int8", "int8")


def _result(
    artifact: OnnxArtifact,
    made: OnnxArtifact,
    ranges: Mapping[str, Range],
    kept: Mapping[str, str],
    judge: Judge,
    *,
    recovered: bool = False,
) -> Int8Result:
    parity, drop = judge.judge(made)
    choices = tuple(Choice(name, "mse", found, {}) for name, found in ranges.items())
    names = {node.output[0]: name_of(node) for node in artifact.model.graph.node}
    float32 = {names[output]: KeptLayer("float32", reason) for output, reason in kept.items()}
    could = layers(find_sites(artifact.model))
    quantized = sum(layer not in kept for layer in could)
    placed = PlacementChoice(LAYERS_ONLY.name, "the target cpu has one placement")
    return Int8Result(
        made, parity, drop, choices, recovered, float32, len(could), quantized, placement=placed
    )
