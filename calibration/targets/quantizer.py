"""The one way from a float32 model to a judged INT8 model, whatever the target.

First the ranges alone, then recovery: the layers with the largest errors stay float, and the weights and
biases of the others are fitted anew. It is taken where it helps on calibration inputs that no weight was
fitted to. While the answers change by more than the budget, more layers stay float.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ...runtime.tasks.base import Outputs
from ...runtime.tasks.outputs import specs_of
from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import NONE_HELD_BACK, AccuracyDrop
from ..dataset.load import CalibrationInputs
from ..normalize.logits import final_activation, with_final_activation
from ..normalize.objective import objective, with_own_outputs
from ..onnx_graph.cost import LayerCost, layer_costs
from ..passes.kept import KeptLayer, name_of
from ..passes.range_search import Choice
from ..progress import Progress
from ..qdq.placement import PlacementChoice
from ..qdq.quantized_inputs import LAYERS_ONLY, find_quantized_inputs, layers
from ..ranges.statistics import Range, Statistics
from ..recovery.mixed_precision import recoveries
from ..recovery.parameters import QuantizationParams
from .base import Attempt, Int8Request, Int8Result, Target, TargetPlan

PROBABILITIES = "it makes probabilities of the logits"
LEFT_FLOAT = "it is part of a gate, all of which stays float"
GIVEN = PlacementChoice(LAYERS_ONLY.name, "the scales were given for it")


def make_int8(
    target: Target,
    inputs: CalibrationInputs,
    statistics: Statistics,
    request: Int8Request,
    progress: Progress | None = None,
) -> Int8Result:
    """Quantize for a target, and recover what that costs.

    Args:
        target: what the model is made for.
        inputs: a float32 model and its calibration inputs; their labels, where known, serve the budget alone.
        statistics: what `target.calibrate` found on them.
        request: the budget, and what may be done to hold it.
        progress: shows what goes on; None for silence.

    Raises:
        ModelError: the model cannot be quantized, or recovered where that is needed.
        DataError: a value is NaN or Inf on the calibration inputs.
    """
    progress, recover = progress or Progress(quiet=True), request.recover == "auto"
    held_back = inputs.samples.held_back() if recover else NONE_HELD_BACK
    evaluation = AccuracyDrop(inputs.artifact.model, inputs.samples, inputs.task, inputs.truths, held_back)
    logits = _objective(inputs, evaluation.outputs)
    plan = target.plan(logits, statistics, progress)
    writer = _Writer(
        target, inputs.artifact, evaluation, _costs(inputs), statistics.ranges, plan.choices, plan.placement
    )
    if not recover:
        return hold_budget(request, writer.write(plan.baseline()), ())
    _, fitting = inputs.samples.hold_back()
    return hold_budget(
        request,
        writer.write(plan.baseline()),
        _recovered(writer, target, plan, request, replace(logits, samples=fitting), progress),
    )


def make_int8_with(
    target: Target, inputs: CalibrationInputs, statistics: Statistics, ranges: Mapping[str, Range]
) -> Int8Result:
    """Quantize with ranges that were found elsewhere, as they are, and judge the result.

    Args:
        target: what the model is made for.
        inputs: a float32 model, and the inputs that judge.
        statistics: what `target.calibrate` found on them.
        ranges: of each activation that INT8 rounds.

    Raises:
        InputError: the target cannot take them.
        ModelError: the model cannot be quantized.
    """
    evaluation = AccuracyDrop(inputs.artifact.model, inputs.samples, inputs.task)
    params = target.plan_given(_objective(inputs, evaluation.outputs), ranges)
    writer = _Writer(target, inputs.artifact, evaluation, _costs(inputs), statistics.ranges, (), GIVEN)
    return writer.write(params)


def _objective(inputs: CalibrationInputs, answers: Outputs) -> CalibrationInputs:
    """The same with one output that holds all of them, without the Softmax or Sigmoid that may end the model.

    Args:
        inputs: the model and its inputs.
        answers: what it puts out for them.
    """
    model = objective(inputs.artifact.model, inputs.task.parts(specs_of(answers)), answers)
    return replace(inputs, artifact=replace(inputs.artifact, model=model))


def _costs(inputs: CalibrationInputs) -> dict[str, LayerCost]:
    """Of every layer that could be quantized."""
    model = inputs.artifact.model
    return layer_costs(model, layers(find_quantized_inputs(model)), inputs.samples.sample(1).shape[1:])


def _recovered(
    writer: _Writer,
    target: Target,
    plan: TargetPlan,
    request: Int8Request,
    inputs: CalibrationInputs,
    progress: Progress,
) -> Iterator[Int8Result]:
    shares = target.float_share, request.max_float
    for recovery in recoveries(plan.recovery_plan(), *shares, inputs.samples, progress):
        result = writer.write(plan.recovered(recovery))
        yield replace(result, recovered=True, ranked=recovery.ranked)


@dataclass(frozen=True)
class _Writer:
    """Writes INT8 models as they are handed over, and judges each on the calibration inputs.

    Attributes:
        costs: of every layer that could be quantized.
    """

    target: Target
    artifact: OnnxArtifact
    evaluation: AccuracyDrop
    costs: Mapping[str, LayerCost]
    ranges: Mapping[str, Range]
    choices: tuple[Choice, ...]
    placement: PlacementChoice

    def write(self, params: QuantizationParams) -> Int8Result:
        left = {layer: LEFT_FLOAT for layer in self.costs if layer in params.placement.left_float}
        kept = {**left, **params.kept_float}
        names = {node.output[0]: name_of(node) for node in params.source.graph.node}
        whole = self.artifact.model
        own = replace(params, source=with_own_outputs(params.source, whole))
        written = self.target.write(own, self.ranges, {names[node]: why for node, why in kept.items()})
        model = with_final_activation(written.model, whole)
        judged = self.evaluation.measure(model)
        last = final_activation(whole)
        ending = {name_of(last): KeptLayer("float32", PROBABILITIES)} if last else {}
        return Int8Result(
            self.artifact.derive(model, "int8", "int8"),
            judged.parity,
            judged.accuracy,
            self.choices,
            recovered=False,
            kept_float={**written.kept_float, **ending},
            layers=len(self.costs),
            quantized=sum(layer not in kept for layer in self.costs),
            placement=self.placement,
            held_back_db=judged.held_back_db,
            float_traffic=self._traffic(kept),
        )

    def _traffic(self, kept: Container[str]) -> float:
        whole = sum(cost.elements for cost in self.costs.values())
        return sum(cost.elements for layer, cost in self.costs.items() if layer in kept) / (whole or 1)


def hold_budget(request: Int8Request, baseline: Int8Result, recovered: Iterable[Int8Result]) -> Int8Result:
    """The model that is best on the inputs held back, of those tried until the budget holds.

    Args:
        request: the budget.
        baseline: what the ranges alone give.
        recovered: each is made when it is asked for; the first is always tried.
    """
    best, taken, ranked, tried = baseline, 0, baseline.ranked, [_attempt(baseline)]
    for number, found in enumerate(recovered, start=1):
        tried.append(_attempt(found))
        ranked = found.ranked or ranked
        if tried[number].signal > tried[taken].signal:
            best, taken = found, number
        if best.drop <= request.max_drop:
            break
    tried[taken] = replace(tried[taken], taken=True)
    return replace(best, ranked=ranked, tried=tuple(tried))


def _attempt(result: Int8Result) -> Attempt:
    return Attempt(
        result.recovered,
        result.layers - result.quantized,
        result.float_traffic,
        result.drop,
        result.parity.sqnr_db,
        result.held_back_db,
    )
