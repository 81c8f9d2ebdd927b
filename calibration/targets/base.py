"""What an INT8 model is made for: TensorRT, or ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import onnx

from ...runtime.errors import InputError
from ...runtime.session.session import load_onnxruntime
from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import shown
from ..dataset.calibration_set import CalibrationSet, input_of
from ..onnx_graph.graph import float_values
from ..passes.float_rest import Rest, float16_rest, float32_rest, require_rounding
from ..progress import Progress
from ..qdq.placement import activations_of_all
from ..ranges.statistics import Statistics, collect_statistics
from .cpu import make_int8_cpu
from .tensorrt import Int8Result, make_int8, with_ranges


@dataclass(frozen=True)
class Target:
    """A way to INT8.

    Attributes:
        name: as it is typed.
        compiled: whether TensorRT is to take the model.
        counted: the values whose distribution it needs.
        make: makes the INT8 model.
        make_with: makes it with ranges that were found elsewhere; None where it cannot.
        rounds_float16: whether float16 values are quantized in it.
    """

    name: str
    compiled: bool
    counted: Callable[[onnx.ModelProto], list[str]]
    make: Callable[..., Int8Result]
    make_with: Callable[..., Int8Result] | None = None
    rounds_float16: bool = False

    def require_judge(self) -> None:
        """Make sure that this machine's ONNX Runtime computes what the target gives as it should.

        Raises:
            InputError: it does not.
        """
        if self.rounds_float16:
            require_rounding(load_onnxruntime().__version__)

    def calibrate(self, artifact: OnnxArtifact, samples: CalibrationSet, progress: Progress) -> Statistics:
        """Extremes of every float value, and histograms of those that this target rounds.

        Raises:
            InputError: this ONNX Runtime cannot judge what the target gives.
            DataError: a value is NaN or Inf on the calibration inputs.
        """
        self.require_judge()
        batches = shown(artifact, samples, progress, "calibrating")
        return collect_statistics(artifact.model, batches, self.counted(artifact.model))


def _tensorrt(name: str, rest: Rest) -> Target:
    makers = partial(make_int8, rest=rest), partial(with_ranges, rest=rest)
    return Target(name, True, activations_of_all, *makers, rounds_float16=rest is float16_rest)


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        _tensorrt("tensorrt", float16_rest),
        _tensorrt("tensorrt-fp32", float32_rest),
        Target("cpu", False, lambda model: [input_of(model).name, *float_values(model)], make_int8_cpu),
    )
}


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(f"There is no target {name}.", available=", ".join(TARGETS))
    return TARGETS[name]
