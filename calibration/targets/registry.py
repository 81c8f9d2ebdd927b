"""The targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from ...runtime.errors import InputError
from .base import Target
from .cpu import CpuTarget
from .tensorrt import Float32TensorRTTarget, TensorRTTarget

TARGETS: Mapping[str, Target] = {
    target.name: target for target in (TensorRTTarget(), Float32TensorRTTarget(), CpuTarget())
}


def find_target(name: str) -> Target:
    """The target of a name.

    Raises:
        InputError: there is none.
    """
    if name not in TARGETS:
        raise InputError(f"There is no target {name}.", available=", ".join(TARGETS))
    return TARGETS[name]
