"""Weights as symmetric int8 with a scale for each output channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ModelError
from ..ranges.integer_format import MIN_SCALE, WEIGHT_INT8


def along(axis: int, values: NDArray[np.float32], axes: int) -> NDArray[np.float32]:
    """One number a channel, shaped to be multiplied with a tensor of so many axes."""
    return values.reshape([-1 if i == axis else 1 for i in range(axes)])


def weight_scale(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The scale of each channel of `axis` with which its largest magnitude becomes 127; float32."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    absmax = np.abs(weight).max(axis=others, initial=0)
    return WEIGHT_INT8.parameters(-absmax, absmax)[0].astype(np.float32)


def round_weight(weight: NDArray[np.float32], axis: int, scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """The nearest symmetric int8 values, of the same shape, with one scale a channel of `axis`."""
    return WEIGHT_INT8.round(weight, along(axis, scales, weight.ndim)).astype(np.int8)


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
