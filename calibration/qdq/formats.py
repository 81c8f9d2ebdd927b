"""The integer formats: how a range becomes a grid of 256 values, and float weights become int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ModelError
from ..ranges.statistics import Range

QMAX = 127
LEVELS = 255
MIN_SCALE = 1e-9  # what is tiny still needs a scale that can be divided by
UNKNOWN = 1.0  # the largest magnitude of what is always zero: any number does, and float16 can hold this one


@dataclass(frozen=True)
class IntegerGrid:
    """The real numbers `scale * (integer - zero_point)`.

    Attributes:
        scale: float32, without axes.
        zero_point: of the integers' type, int8 or uint8, without axes.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]


def symmetric_int8(values: Range) -> IntegerGrid:
    """The int8 grid around zero that reaches the largest magnitude: what TensorRT takes."""
    scale = np.array(max((values.absmax or UNKNOWN) / QMAX, MIN_SCALE), np.float32)
    return IntegerGrid(scale, np.zeros((), np.int8))


def affine_uint8(values: Range) -> IntegerGrid:
    """The uint8 grid from the low to the high end, widened until zero, which padding needs, lies on it."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    scale = max(((high - low) or UNKNOWN) / LEVELS, MIN_SCALE)
    return IntegerGrid(np.array(scale, np.float32), np.array(round(-low / scale), np.uint8))


def weight_scale(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The scale of each channel of `axis` with which its largest magnitude becomes 127; float32."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    absmax = np.abs(weight).max(axis=others, initial=0)
    return np.maximum(np.where(absmax > 0, absmax, UNKNOWN) / QMAX, MIN_SCALE).astype(np.float32)


def round_weight(weight: NDArray[np.float32], axis: int, scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """The nearest symmetric int8 values, of the same shape, with one scale a channel of `axis`."""
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return np.clip(np.rint(weight / scales.reshape(shape)), -QMAX, QMAX).astype(np.int8)


def quantize_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric per-channel weights: int8 of the same shape, and one float32 scale a channel of `axis`."""
    scales = weight_scale(weight, axis)
    return round_weight(weight, axis, scales), scales


def checked_scales(name: str, scales: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Chosen scales of a weight, when they can be used.

    Raises:
        ModelError: they are not one positive, finite number a channel.
    """
    if scales.shape != (channels,) or not np.isfinite(scales).all() or not (scales > 0).all():
        raise ModelError(
            f"The scales of the weight {name!r} cannot be used.",
            wanted=f"{channels} positive numbers, one for each output channel",
            got=f"shape {scales.shape}, from {scales.min(initial=np.inf):.3g} to {scales.max(initial=0):.3g}",
        )
    return np.maximum(scales, MIN_SCALE).astype(np.float32)
