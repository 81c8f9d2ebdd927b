"""What an INT8 model is made for: TensorRT, or ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from ..runtime.errors import InputError
from .artifact import OnnxArtifact
from .batches import CalibrationSet, input_of
from .collect import Statistics, collect_statistics
from .graph import float_values
from .int8 import Int8Result, make_int8
from .int8_cpu import make_int8_cpu
from .int8_fp16 import make_int8_fp16
from .judge import shown
from .progress import Stages
from .qdq.sites import activations, find_sites


@dataclass(frozen=True)
class Target:
    """A way to INT8.

    Attributes:
        name: as it is typed.
        compiled: whether TensorRT is to take the model.
        counted: the values whose distribution it needs.
        make: makes the INT8 model.
    """

    name: str
    compiled: bool
    counted: Callable[[onnx.ModelProto], list[str]]
    make: Callable[..., Int8Result]

    def calibrate(self, artifact: OnnxArtifact, samples: CalibrationSet, stages: Stages) -> Statistics:
        """Extremes of every float value, and histograms of those that this target rounds.

        Raises:
            DataError: a value is NaN or Inf on the calibration inputs.
        """
        batches = shown(artifact, samples, stages, "calibrating")
        return collect_statistics(artifact.model, batches, self.counted(artifact.model))


def _rounded(model: onnx.ModelProto) -> list[str]:
    return activations(find_sites(model))


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("tensorrt", True, _rounded, make_int8),
        Target("tensorrt-fp16", True, _rounded, make_int8_fp16),
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
