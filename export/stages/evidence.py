"""`evidence.json`: how the models of a bundle were made, in numbers from which a report is made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...calibration.onnx_graph.depth import DepthError, errors_by_depth
from ...calibration.passes.range_search import Choice
from ...calibration.qdq.placement import PlacementChoice
from ...calibration.recovery.sensitivity import LayerSensitivity
from ...calibration.targets.base import Attempt
from ...runtime.bundle.manifest import FloatPrecision
from ...runtime.records import encode
from ...runtime.tasks.base import Task
from ...runtime.tasks.registry import described
from ..request import ExportRequest
from .accuracy import SampleDigest
from .parity import PrecisionResult, Reference
from .samples import ExportSamples

EVIDENCE_SCHEMA = 2
DEPTH_SAMPLES = 4


@dataclass(frozen=True)
class RequestSummary:
    """What the export was asked for, and how many samples it had.

    Attributes:
        precisions: that were asked for.
        task: what the answers mean, as it could be typed.
        target: what INT8 was to be made for.
        max_drop: points of the task's metric that INT8 might cost.
        recover: when INT8 was to be recovered: "auto" or "off".
        calibration: number of samples that gave the ranges, and on which INT8 models were compared.
        parity: number of samples on which each model was compared with PyTorch.
        evaluation: number of samples on which accuracy was measured.
    """

    precisions: tuple[str, ...]
    task: str
    target: str
    max_drop: float
    recover: str
    calibration: int
    parity: int
    evaluation: int


@dataclass(frozen=True)
class RangeFound:
    """The range of one activation in INT8.

    Attributes:
        value: name of the activation.
        method: by which the range was found.
        low, high: its ends, in the activation's unit.
        errors: for each method that was measured, the power of the output's error over the power of the
            output when this activation alone is rounded; None where it is not finite.
    """

    value: str
    method: str
    low: float
    high: float
    errors: Mapping[str, float | None]


@dataclass(frozen=True)
class LayerError:
    """The error of the output when one layer alone computes in INT8.

    Attributes:
        node: the layer's first output, which names it.
        layer: operator, name and PyTorch module.
        error: norm of the output's error over norm of its signal; None where it is not finite.
        multiply_adds: for one input.
        elements: that it reads and writes for one input, its weights among them.
    """

    node: str
    layer: str
    error: float | None
    multiply_adds: int
    elements: int


@dataclass(frozen=True)
class KeptNode:
    """A node that does not compute in its model's own precision: in which it does, and why."""

    precision: FloatPrecision
    reason: str


@dataclass(frozen=True)
class Evidence:
    """All of `evidence.json`. It holds no times, so that the same export writes the same file.

    Attributes:
        schema: of this file.
        request: what was asked for.
        ranges: of each activation that INT8 rounds, in the order of the graph; empty without INT8.
        layers: the error by layer, the worst first; empty where recovery had no need to rank them.
        tried: the INT8 models that were made and measured, in their order; one of them was taken.
        placement: where Q/DQ pairs stand around gates, how that was chosen, and the error of each placement
            that was tried; None without INT8.
        kept: by model and node, what does not compute in the model's own precision.
        depth: by precision, the error of each layer's output against float32's, in the order of the graph.
        curve: of those tried the ones of which none other is both as cheap and better; the cheapest first.
    """

    schema: int
    request: RequestSummary
    ranges: tuple[RangeFound, ...]
    layers: tuple[LayerError, ...]
    tried: tuple[Attempt, ...]
    placement: PlacementChoice | None
    kept: Mapping[str, Mapping[str, KeptNode]]
    curve: tuple[Attempt, ...] = ()
    depth: Mapping[str, tuple[DepthError, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """As indented JSON, without NaN or Infinity."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"


def summarize(
    request: ExportRequest, task: Task, samples: ExportSamples, evaluation: SampleDigest
) -> RequestSummary:
    """The request with the number of samples that each purpose had."""
    return RequestSummary(
        precisions=request.precisions,
        task=described(task),
        target=request.target,
        max_drop=request.max_drop,
        recover=request.recover,
        calibration=len(samples.calibration),
        parity=len(samples.inputs),
        evaluation=evaluation.count,
    )


def gather(
    summary: RequestSummary,
    results: Mapping[str, PrecisionResult],
    depth: Mapping[str, tuple[DepthError, ...]],
) -> Evidence:
    """The evidence of one export, from each precision with its proofs."""
    kept = {
        name: {node: KeptNode(precision, result.reasons[node]) for node, precision in result.kept.items()}
        for name, result in results.items()
    }
    int8 = results["int8"].int8 if "int8" in results else None
    if int8 is None:
        return Evidence(EVIDENCE_SCHEMA, summary, (), (), (), None, kept, depth=depth)
    return Evidence(
        schema=EVIDENCE_SCHEMA,
        request=summary,
        ranges=tuple(_range(choice) for choice in int8.choices),
        layers=tuple(map(_layer, int8.ranked)),
        tried=int8.tried,
        curve=int8.curve,
        depth=depth,
        placement=int8.placement,
        kept=kept,
    )


def depth_errors(
    results: Mapping[str, PrecisionResult], reference: Reference
) -> dict[str, tuple[DepthError, ...]]:
    """How the error of each lower precision grows from the input to the outputs, on a few samples."""
    float32 = results["fp32"].artifact.model
    return {
        name: tuple(errors_by_depth(float32, result.artifact.model, reference.inputs[:DEPTH_SAMPLES]))
        for name, result in results.items()
        if name != "fp32"
    }


def _layer(layer: LayerSensitivity) -> LayerError:
    cost = layer.cost
    return LayerError(layer.node, layer.layer, _finite(layer.error), cost.multiply_adds, cost.elements)


def _range(choice: Choice) -> RangeFound:
    errors = {method: _finite(errors) for method, errors in choice.errors.items()}
    return RangeFound(choice.value, choice.method, choice.range.low, choice.range.high, errors)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
