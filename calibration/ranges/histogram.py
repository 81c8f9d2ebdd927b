"""How the values of a tensor are distributed, in constant memory and whatever order they come in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 4096  # bins on each side of zero
SMALLEST_EXPONENT = -100  # below it float32 cannot scale a value to its bin; a dead tensor ends up here


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in equal bins over -limit..limit, where limit is a power of two beyond every value.

    A larger value doubles the limit: pairs of bins then merge, and because limits are powers of two the bins
    of one histogram never straddle those of another. So the counts do not depend on the order of the values.
    On the side that reaches further at least half the bins, 2048, lie within the extremes.

    Attributes:
        counts: values in each bin, shape (2 * SIDE,), int64; the first bin of the upper half starts at zero.
        exponent: the limit's logarithm to base 2.
        low: the smallest value there was, whether it was counted or not.
        high: the largest value there was.
    """

    counts: NDArray[np.int64]
    exponent: int
    low: float
    high: float

    def including(self, values: NDArray[np.float32], low: float, high: float) -> Histogram:
        """This histogram and some values more.

        Args:
            values: what is counted, all finite, of any shape.
            low: the smallest of the values of which these are all or a sample.
            high: the largest.
        """
        _, needed = math.frexp(max(abs(low), abs(high)))
        exponent = max(self.exponent, needed)
        bins = np.floor(values.ravel() * np.float32(math.ldexp(SIDE, -exponent))).astype(np.intp)
        counts = np.bincount(bins + SIDE, minlength=2 * SIDE)
        counts += _merged(self.counts, exponent - self.exponent)
        return Histogram(counts, exponent, min(self.low, low), max(self.high, high))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1 / SIDE, self.exponent)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centre of each bin, shape (2 * SIDE,), float64."""
        return np.arange(0.5 - SIDE, SIDE, dtype=np.float64) * self.width


EMPTY = Histogram(np.zeros(2 * SIDE, np.int64), SMALLEST_EXPONENT, math.inf, -math.inf)


def _merged(counts: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    """The same counts in bins 2**doublings as wide, with empty ones added at both ends."""
    if doublings == 0:
        return counts
    group = min(2**doublings, SIDE)
    return np.pad(counts.reshape(-1, group).sum(axis=1), SIDE - SIDE // group)
