"""From a float32 model and calibration inputs to an INT8 model that keeps its answers.

First comes where the pairs stand around gates, then ranges, with channels equalized and values moved where
that is free. If the answers change by more than the budget, the few layers that do most damage stay float,
and the others' weights and biases are fitted to what INT8 makes of their inputs. If that is not enough, more
layers stay float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.bundle.parity import Parity
from ...runtime.errors import InputError
from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import Judge
from ..dataset.calibration_set import CalibrationSet
from ..onnx_graph.cost import multiply_adds
from ..passes.activation_shift import best_offsets
from ..passes.float_rest import Rest
from ..passes.kept import KeptLayer, name_of
from ..passes.range_search import Choice, choose_ranges
from ..progress import Progress
from ..qdq.placement import NO_CHOICE, PlacementChoice
from ..qdq.quantized_inputs import LAYERS_ONLY, Placement, activations, find_sites, layers
from ..ranges.methods import SYMMETRIC_INT8
from ..ranges.statistics import Range, Statistics
from ..recovery.mixed_precision import Start, equalization_limits, recoveries
from ..recovery.parameters import Recipe, plain, recovered
from .placement_trial import choose_placement

if TYPE_CHECKING:
    from ..recovery.sensitivity import LayerDamage

FEWEST_CHOOSING, MOST_CHOOSING = 8, 32  # samples; with fewer a range is chosen that cuts the others' outliers
CHOOSING_COST = 5.1e11  # samples times tensors times multiply-adds: MobileNetV2 at 224x224 sees 32
LEFT_FLOAT = "it is part of a gate, all of which stays float"
FEW_FLOAT = 0.1  # share of the layers, those that do most damage, that stay float at once

Recover = Literal["auto", "off", "always"]
RECOVER: tuple[Recover, ...] = ("auto", "off", "always")


@dataclass(frozen=True)
class Int8Request:
    """What is asked of the INT8 model.

    Attributes:
        max_drop: points of top-1 that it may cost on the calibration inputs; without labels, the share of
            changed answers, in percent, which is never less.
        recover: "auto" recovers where the ranges alone do not hold the budget; "always"; "off".
    """

    max_drop: float = 1.0
    recover: Recover = "auto"


def as_recover(text: str) -> Recover:
    """The word for when INT8 is recovered.

    Raises:
        InputError: there is no such word.
    """
    for word in RECOVER:
        if word == text:
            return word
    raise InputError(f"--recover {text} is not known.", available=", ".join(RECOVER))


@dataclass(frozen=True)
class Attempt:
    """An INT8 model that was made and judged on the calibration inputs.

    Attributes:
        recovered: whether weights and biases were fitted to the rounded inputs.
        float_layers: number of layers that stay float.
        drop: what it costs, in the unit of the budget.
        sqnr_db: its parity's, in dB; None where it gave the float model's own answers.
        taken: whether it is the one that was handed over.
    """

    recovered: bool
    float_layers: int
    drop: float
    sqnr_db: float | None
    taken: bool = False


@dataclass(frozen=True)
class Int8Result:
    """An INT8 model and how it came about.

    Attributes:
        artifact: the model.
        parity: its first output against the float model's, on the calibration inputs.
        drop: what it costs there, in the unit of the budget.
        choices: the range of each activation, and the damage by each method.
        recovered: whether weights and biases were fitted to the rounded inputs.
        kept_float: layers that stay float, and nodes that float16 leaves float32, by their names in the
            model, with the precision in which they compute.
        layers: number of layers that could be quantized.
        quantized: number of those that are.
        ranked: every layer with its damage, the worst first; empty where recovery ranked none.
        tried: this model and the others that were made on the way to it, in their order.
        placement: where pairs stand around the gates of squeeze-and-excitation, and what else was tried.
    """

    artifact: OnnxArtifact
    parity: Parity
    drop: float
    choices: tuple[Choice, ...]
    recovered: bool
    kept_float: Mapping[str, KeptLayer]
    layers: int
    quantized: int
    ranked: tuple[LayerDamage, ...] = ()
    tried: tuple[Attempt, ...] = ()
    placement: PlacementChoice = NO_CHOICE


@dataclass(frozen=True)
class _Maker:
    """Turns recipes into models as they are handed over, and shows these the calibration inputs.

    Attributes:
        artifact: the float model.
        judge: has its answers.
        rest: what becomes of that which INT8 leaves float.
        ranges: of every value of the float model.
        choices: of the activations' ranges.
        placement: how it was chosen.
    """

    artifact: OnnxArtifact
    judge: Judge
    rest: Rest
    ranges: Mapping[str, Range]
    choices: tuple[Choice, ...]
    placement: PlacementChoice

    def make(self, recipe: Recipe, *, recovered: bool) -> Int8Result:
        """Write the INT8 model of a recipe, and judge it."""
        could = layers(find_sites(self.artifact.model))
        left = {layer: LEFT_FLOAT for layer in could if layer in recipe.placement.left_float}
        kept = {**left, **recipe.kept_float}
        names = {node.output[0]: name_of(node) for node in recipe.source.model.graph.node}
        mixed = self.rest(recipe.write(), self.ranges, {names[node]: why for node, why in kept.items()})
        candidate = self.artifact.derive(mixed.artifact.model, "int8", "int8")
        parity, drop = self.judge.judge(candidate)
        return Int8Result(
            candidate,
            parity,
            drop,
            self.choices,
            recovered,
            mixed.kept_float,
            len(could),
            sum(layer not in kept for layer in could),
            placement=self.placement,
        )


def make_int8(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    request: Int8Request,
    labels: NDArray[np.integer] | None = None,
    progress: Progress | None = None,
    *,
    rest: Rest,
) -> Int8Result:
    """Quantize for TensorRT, and recover what that costs.

    Args:
        artifact: a float32 model.
        samples: calibration inputs.
        statistics: what was found on them, with histograms of the activations that are rounded.
        request: the budget, and what may be done to hold it.
        labels: class of each calibration input, shape (N,), for the budget alone.
        progress: shows what goes on; None for silence.
        rest: what becomes of that which INT8 leaves float.

    Raises:
        ModelError: the model cannot be quantized, or recovered where that is needed.
        DataError: a value is NaN or Inf on the calibration inputs.
    """
    progress = progress or Progress(quiet=True)
    judge = Judge(artifact, samples, labels)
    placement, chosen = choose_placement(artifact, samples, statistics.ranges, rest, progress)
    start, choices = _prepare(artifact, samples, statistics, placement, progress)
    maker = _Maker(artifact, judge, rest, statistics.ranges, choices, chosen)
    first = maker.make(plain(start), recovered=False)
    found = (
        replace(
            maker.make(recovered(start, one.student, one.kept_float), recovered=True),
            ranked=one.ranked,
        )
        for one in recoveries(start, FEW_FLOAT, samples, progress)
    )
    return hold_budget(request, first, found)


def hold_budget(request: Int8Request, plain: Int8Result, recovered: Iterable[Int8Result]) -> Int8Result:
    """The plain model if that is enough; else the first recovered one that holds the budget, or the best.

    Args:
        request: the budget, and whether there may or must be recovery.
        plain: what the ranges alone give.
        recovered: each is made when it is asked for.
    """
    enough = request.recover == "off" or (request.recover == "auto" and plain.drop <= request.max_drop)
    best, taken, ranked, tried = plain, 0, plain.ranked, [_attempt(plain)]
    for number, found in enumerate(() if enough else recovered, start=1):
        tried.append(_attempt(found))
        ranked = found.ranked or ranked
        if number == 1 or found.drop < best.drop:
            best, taken = found, number
        if best.drop <= request.max_drop:
            break
    tried[taken] = replace(tried[taken], taken=True)
    return replace(best, ranked=ranked, tried=tuple(tried))


def _attempt(result: Int8Result) -> Attempt:
    float_layers = result.layers - result.quantized
    return Attempt(result.recovered, float_layers, result.drop, result.parity.sqnr_db)


def with_ranges(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    ranges: Mapping[str, Range],
    *,
    rest: Rest,
) -> Int8Result:
    """Quantize with ranges that were found elsewhere, as they are, and judge the result.

    Args:
        artifact: a float32 model.
        samples: inputs that judge.
        statistics: what was found on them, for `rest`.
        ranges: of each activation that INT8 rounds.
        rest: what becomes of that which INT8 leaves float.

    Raises:
        ModelError: the model cannot be quantized.
    """
    chosen = PlacementChoice(LAYERS_ONLY.name, "the scales were given for it")
    maker = _Maker(artifact, Judge(artifact, samples, None), rest, statistics.ranges, (), chosen)
    return maker.make(Recipe(artifact, ranges), recovered=False)


def _prepare(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    placement: Placement,
    progress: Progress,
) -> tuple[Start, tuple[Choice, ...]]:
    """Choose the ranges, and move the values that then have twice the levels."""
    sites = find_sites(artifact.model, placement=placement)
    named, histograms = activations(sites), statistics.histograms
    offsets = best_offsets(artifact.model, {name: histograms[name] for name in named})
    others = [site for site in sites if site.value not in offsets]
    some = _choosing_samples(artifact.model, samples, len(named))
    chosen = choose_ranges(artifact.model, others, histograms, some, SYMMETRIC_INT8)
    choices = tuple(progress.track(chosen, len(activations(others)), "choosing ranges"))
    ranges = {choice.value: choice.range for choice in choices}
    ranges |= {name: Range(-half, half) for name, half in offsets.items()}
    limits = equalization_limits(artifact, sites, samples, progress)
    moved = [Choice(name, "mse", Range(0.0, 2 * half), {}) for name, half in offsets.items()]
    return Start(artifact, sites, ranges, offsets, limits, placement), (*choices, *moved)


def _choosing_samples(model: onnx.ModelProto, samples: CalibrationSet, tensors: int) -> NDArray[Any]:
    """As many calibration inputs as the number of tensors and the cost of a pass allow."""
    cost = tensors * multiply_adds(model, samples.sample(1).shape)
    count = int(CHOOSING_COST / max(1, cost))
    return samples.sample(min(MOST_CHOOSING, max(FEWEST_CHOOSING, count)))
