"""A target: the place where an INT8 model runs, and what is special about quantizing for it.

A new target is one file with a subclass of `Target`, and its line in the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

import onnx

from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.parity import Parity
from ...runtime.errors import InputError
from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import batches
from ..dataset.load import CalibrationInputs
from ..passes.float_rest import Mixed
from ..passes.kept import KeptLayer
from ..passes.range_search import Choice
from ..progress import Progress
from ..qdq.placement import NO_CHOICE, PlacementChoice
from ..ranges.statistics import Range, Statistics, collect_statistics
from ..recovery.mixed_precision import QuantizationPlan, Recovery
from ..recovery.parameters import QuantizationParams
from ..recovery.sensitivity import LayerSensitivity

Recover = Literal["auto", "off"]
RECOVER: tuple[Recover, ...] = ("auto", "off")
MAX_FLOAT = 0.5  # beyond that FP16 is the better answer


@dataclass(frozen=True)
class Int8Request:
    """What is asked of the INT8 model.

    Attributes:
        max_drop: percentage points of the task's metric that it may cost; without labels, of the agreement
            with the float model, which never fall less.
        recover: "auto" recovers accuracy lost to INT8, where that helps on inputs it was not fitted to, and
            leaves more layers float until the budget holds; "off" takes the ranges alone.
        max_float: share of the layers, 0..1, that may stay float for that.
    """

    max_drop: float = 1.0
    recover: Recover = "auto"
    max_float: float = MAX_FLOAT


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
        float_traffic: their share, 0..1, of what all layers read and write, weights among it: what leaving
            them float costs where a GPU waits for its memory.
        drop: what it costs, in the unit of the budget.
        sqnr_db: its parity's, in dB; None where it gave the float model's own answers.
        held_back_db: SQNR on the calibration inputs that no weight was fitted to, in dB; None where it gave
            the float model's own answers there, or where there was nothing to choose from.
        taken: whether it is the one that was handed over.
    """

    recovered: bool
    float_layers: int
    float_traffic: float
    drop: float
    sqnr_db: float | None
    held_back_db: float | None = None
    taken: bool = False

    @property
    def signal(self) -> float:
        """SQNR by which it is compared with others, in dB: on the inputs held back, where there are some."""
        return inf if self.held_back_db is None else self.held_back_db


@dataclass(frozen=True)
class Int8Result:
    """An INT8 model and how it came about.

    Attributes:
        artifact: the model.
        parity: its outputs against the float model's, on the same inputs as `accuracy`.
        accuracy: what it costs, in percentage points of the task's metric, or of changed answers without
            labels; on the calibration inputs, or, of `quantize`, on those that judge.
        choices: the range of each activation, and the error by each method.
        recovered: whether weights and biases were fitted to the rounded inputs.
        kept_float: layers that stay float, and nodes that float16 leaves float32, by their names in the
            model, with the precision in which they compute.
        layers: number of layers that could be quantized.
        quantized: number of those that are.
        ranked: every layer with its error, the worst first; empty where recovery ranked none.
        tried: this model and the others that were made on the way to it, in their order.
        placement: where pairs stand around the gates of squeeze-and-excitation, and what else was tried.
        held_back_db: as in `Attempt`.
        float_traffic: as in `Attempt`.
    """

    artifact: OnnxArtifact
    parity: Parity
    accuracy: Accuracy
    choices: tuple[Choice, ...]
    recovered: bool
    kept_float: Mapping[str, KeptLayer]
    layers: int
    quantized: int
    ranked: tuple[LayerSensitivity, ...] = ()
    tried: tuple[Attempt, ...] = ()
    placement: PlacementChoice = NO_CHOICE
    held_back_db: float | None = None
    float_traffic: float = 0.0

    @property
    def curve(self) -> tuple[Attempt, ...]:
        """Those tried of which none is both as cheap and better (Pareto's front), the cheapest first."""
        front: list[Attempt] = []
        for attempt in sorted(self.tried, key=lambda each: (each.float_traffic, -each.signal)):
            if not front or attempt.signal > front[-1].signal:
                front.append(attempt)
        return tuple(front)

    @property
    def drop(self) -> float:
        """What it costs, in the unit of the budget."""
        return self.accuracy.drop


class TargetPlan(Protocol):
    """How a target quantizes one network: from ranges alone, and after recovery."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The range of each activation."""
        ...

    @property
    def placement(self) -> PlacementChoice:
        """Where pairs stand around gates."""
        ...

    def baseline(self) -> QuantizationParams:
        """What the ranges alone give."""
        ...

    def recovery_plan(self) -> QuantizationPlan:
        """What recovery begins with; called only where there is recovery."""
        ...

    def recovered(self, recovery: Recovery) -> QuantizationParams:
        """What a recovered graph gives."""
        ...


class Target(ABC):
    """A way to INT8.

    Attributes:
        name: as it is typed.
        compiled: whether TensorRT is to take the model.
        float_share: share of the layers, those with the largest errors, that recovery leaves float at first.
    """

    name: str
    compiled: bool
    float_share: float

    @abstractmethod
    def require_judge(self) -> None:
        """Make sure that this machine's ONNX Runtime computes what the target gives as it should.

        Raises:
            InputError: it does not.
        """

    @abstractmethod
    def counted(self, model: onnx.ModelProto) -> list[str]:
        """The values whose distribution it needs."""

    @abstractmethod
    def plan(self, inputs: CalibrationInputs, statistics: Statistics, progress: Progress) -> TargetPlan:
        """Choose ranges, and where pairs stand.

        Raises:
            ModelError: the model cannot be quantized.
            DataError: a value is NaN or Inf on the calibration inputs.
        """

    def plan_given(self, inputs: CalibrationInputs, ranges: Mapping[str, Range]) -> QuantizationParams:
        """What ranges that were found elsewhere give, taken as they are.

        Raises:
            InputError: the target cannot take them.
        """
        raise InputError(
            f"The target {self.name} takes no scales of TensorRT's.",
            todo="leave --scales out, or make the model for TensorRT: --target tensorrt",
        )

    @abstractmethod
    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """The INT8 model as it is handed over.

        Args:
            params: what is written.
            ranges: of every value of the float model.
            reasons: why layers stay float, by their names.

        Raises:
            ModelError: the model cannot be quantized.
        """

    def calibrate(self, inputs: CalibrationInputs, progress: Progress) -> Statistics:
        """Extremes of every float value, and histograms of those that this target rounds.

        Raises:
            InputError: this ONNX Runtime cannot judge what the target gives.
            DataError: a value is NaN or Inf on the calibration inputs.
        """
        self.require_judge()
        model = inputs.artifact.model
        shown = batches(model, inputs.samples, progress, "calibrating")
        return collect_statistics(model, shown, self.counted(model))
