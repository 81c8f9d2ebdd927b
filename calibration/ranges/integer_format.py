"""The integer formats of INT8, for all who must agree on them: ranges, simulation, and what is written.

An integer is `clip(round(x / scale) + zero_point, lowest, highest)`, ties rounded to the even one, as ONNX's
QuantizeLinear computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .statistics import Range

MIN_SCALE = 1e-9  # what is tiny still needs a scale that can be divided by
ALWAYS_ZERO = 1.0  # its assumed magnitude: any number does, and float16 holds the scale of this one

Floats = NDArray[np.floating]
Real = TypeVar("Real", bound=np.floating)


@dataclass(frozen=True)
class IntegerGrid:
    """The real numbers `scale * (integer - zero_point)`.

    Attributes:
        scale: float32, without axes, or one a channel.
        zero_point: of the integers' type, int8 or uint8, of the same shape.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[Any]


@dataclass(frozen=True)
class IntegerFormat:
    """Which integers there are, and how a range is laid over them.

    Attributes:
        dtype: numpy's name of their type, "int8" or "uint8".
        lowest: the smallest integer.
        highest: the largest integer.
        symmetric: whether the zero point is 0: the scale then is the largest magnitude over `highest`.
            Otherwise the range reaches from the smallest integer to the largest.
    """

    dtype: str
    lowest: int
    highest: int
    symmetric: bool

    def around(self, extremes: Range) -> Range:
        """The smallest range of this format that holds some extremes, and zero, which padding needs."""
        if self.symmetric:
            return Range(-extremes.absmax, extremes.absmax)
        return Range(min(extremes.low, 0.0), max(extremes.high, 0.0))

    def parameters(self, lows: Floats, highs: Floats) -> tuple[Floats, Floats]:
        """Scale and zero point of each range.

        Args:
            lows: zero or negative.
            highs: of the same shape, zero or positive.
        """
        widths = highs if self.symmetric else highs - lows
        steps = self.highest if self.symmetric else self.highest - self.lowest
        scales = np.maximum(np.where(widths > 0, widths, ALWAYS_ZERO) / steps, MIN_SCALE)
        zeros = np.zeros_like(scales) if self.symmetric else self.lowest + np.rint(-lows / scales)
        return scales, zeros

    def grid(self, values: Range) -> IntegerGrid:
        """The grid of the smallest range that holds some values."""
        chosen = self.around(values)
        scale, zero = self.parameters(np.array(chosen.low), np.array(chosen.high))
        return IntegerGrid(np.array(scale, np.float32), np.array(zero, self.dtype))

    def round(self, values: NDArray[Real], scales: Any, zeros: Any = 0) -> NDArray[Real]:
        """The integer of each value, as floats of its dtype; scales and zero points are broadcast."""
        return np.clip(np.rint(values / scales) + zeros, self.lowest, self.highest)


ACTIVATION_INT8 = IntegerFormat("int8", -128, 127, symmetric=True)
"""What TensorRT takes for activations: no zero point, and QuantizeLinear saturates at -128."""

WEIGHT_INT8 = IntegerFormat("int8", -127, 127, symmetric=True)
"""Weights, with a scale for each output channel: a weight and its negative are rounded alike."""

ACTIVATION_UINT8 = IntegerFormat("uint8", 0, 255, symmetric=False)
"""What ONNX Runtime's integer kernels take for activations."""
