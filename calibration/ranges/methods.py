"""From the distribution of a tensor's values to the range that its integers cover.

Four methods, each a function of a histogram and a grid: the extremes, a percentile, the least relative
entropy, and the least mean square error. A wide range rounds coarsely, a narrow one clips; they differ in how
they weigh the two. Which of them is best for a tensor only the network's output can tell: see choose.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .histogram import SIDE, Histogram
from .statistics import Range

PERCENTILE = 99.99
OCTAVES = 5  # a range is never cut to less than 1/32 of the extremes
STEPS_PER_OCTAVE = 16  # so neighbouring candidates differ by 4 %, where the error is flat
SHRINKING = np.exp2(-np.arange(OCTAVES * STEPS_PER_OCTAVE + 1) / STEPS_PER_OCTAVE)

_Floats = NDArray[np.float64]
_Ends = tuple[_Floats, _Floats]  # lows and highs of some ranges
_Cost = Callable[[_Floats, _Floats], _Floats]


@dataclass(frozen=True)
class Grid:
    """How integers are laid over a range.

    Attributes:
        steps: number of steps from the smallest integer to the largest.
        around: gives the smallest range of the grid's kind that holds some extremes.
        turns: how a range is narrowed, one way after the other; each gives the lows and highs of its
            candidates, the widest first.
    """

    steps: int
    around: Callable[[Range], Range]
    turns: tuple[Callable[[Range], _Ends], ...]

    def parameters(self, lows: _Floats, highs: _Floats) -> tuple[_Floats, _Floats]:
        """Scale and zero point (counted from the smallest integer) of each range.

        Args:
            lows: float64, zero or negative.
            highs: of the same shape, zero or positive.
        """
        scales = np.maximum((highs - lows) / self.steps, np.finfo(np.float64).tiny)
        return scales, np.rint(-lows / scales)

    def levels(self, values: _Floats, lows: _Floats, highs: _Floats) -> _Floats:
        """The level of each value, shape (V,), under each range, shape (R,): whole numbers, shape (R, V)."""
        scales, zeros = self.parameters(lows[:, None], highs[:, None])
        return np.clip(np.rint(values / scales) + zeros, 0, self.steps)


def _mirrored(extremes: Range) -> Range:
    return Range(-extremes.absmax, extremes.absmax)


def _with_zero(extremes: Range) -> Range:
    return Range(min(extremes.low, 0.0), max(extremes.high, 0.0))


def _both_ends(start: Range) -> _Ends:
    return start.low * SHRINKING, start.high * SHRINKING


def _upper_end(start: Range) -> _Ends:
    return np.full(SHRINKING.shape, start.low), start.high * SHRINKING


def _lower_end(start: Range) -> _Ends:
    return start.low * SHRINKING, np.full(SHRINKING.shape, start.high)


# -127..127 around zero, as TensorRT takes activations.
SYMMETRIC_INT8 = Grid(254, _mirrored, (_both_ends,))
# 256 levels and a zero point, as ONNX Runtime's CPU kernels take them. Either end's best place depends on the
# other's, so they take turns.
AFFINE_INT8 = Grid(255, _with_zero, (_upper_end, _lower_end) * 2)


def max_range(histogram: Histogram, grid: Grid) -> Range:
    """Everything that was seen: nothing is clipped."""
    return grid.around(Range(histogram.low, histogram.high))


def percentile_range(histogram: Histogram, grid: Grid) -> Range:
    """The values without the outermost 0.01 % at each end."""
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    outside = 1 - PERCENTILE / 100
    edges = np.append(histogram.centres - histogram.width / 2, histogram.centres[-1] + histogram.width / 2)
    low = edges[np.searchsorted(shares, outside, side="right")]
    high = edges[np.searchsorted(shares, 1 - outside) + 1]
    return grid.around(Range(max(float(low), histogram.low), min(float(high), histogram.high)))


def entropy_range(histogram: Histogram, grid: Grid) -> Range:
    """The range whose quantized values have the least relative entropy to the original ones.

    Migacz, "8-bit Inference with TensorRT", GTC 2017: the clipped distribution is compared with the one that
    remains when all values of a level are spread evenly over its bins. The bin at zero counts as much as its
    neighbour: what an activation function cuts off is exactly zero and is quantized without error.
    """
    return _least(histogram, grid, lambda lows, highs: _divergences(histogram, grid, lows, highs))


def mse_range(histogram: Histogram, grid: Grid) -> Range:
    """The range with the least mean square error of rounding and clipping.

    Sung, Shin and Hwang, "Resiliency of Deep Neural Networks under Quantization" (arXiv 1511.06488), with the
    expectation taken over the histogram's bins.
    """
    return _least(histogram, grid, lambda lows, highs: _square_errors(histogram, grid, lows, highs))


METHODS: Mapping[str, Callable[[Histogram, Grid], Range]] = {
    "max": max_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}


def square_error(histogram: Histogram, grid: Grid, chosen: Range) -> float:
    """Mean square error of quantizing the values of a histogram onto a grid over a range."""
    return float(_square_errors(histogram, grid, np.array([chosen.low]), np.array([chosen.high]))[0])


def _least(histogram: Histogram, grid: Grid, cost: _Cost) -> Range:
    """The cheapest range, from the extremes inwards."""
    best = max_range(histogram, grid)
    for turn in grid.turns:
        lows, highs = turn(best)
        cheapest = int(np.argmin(cost(lows, highs)))
        best = Range(float(lows[cheapest]), float(highs[cheapest]))
    return best


def _square_errors(histogram: Histogram, grid: Grid, lows: _Floats, highs: _Floats) -> _Floats:
    bins = np.flatnonzero(histogram.counts)
    values = np.clip(histogram.centres[bins], histogram.low, histogram.high)
    scales, zeros = grid.parameters(lows[:, None], highs[:, None])
    errors = (grid.levels(values, lows, highs) - zeros) * scales - values
    return errors**2 @ histogram.counts[bins] / histogram.counts.sum()


def _divergences(histogram: Histogram, grid: Grid, lows: _Floats, highs: _Floats) -> _Floats:
    counts = histogram.counts.copy()
    beside_zero = max(counts[SIDE - 1], counts[SIDE + 1])
    if 0 < beside_zero < counts[SIDE]:
        counts[SIDE] = beside_zero
    bins = np.flatnonzero(counts)
    values, weights = np.clip(histogram.centres[bins], histogram.low, histogram.high), counts[bins]
    levels = grid.levels(values, lows, highs).astype(np.intp)
    # Bins ascend, so those within a range are a slice.
    firsts, ends = np.searchsorted(values, lows), np.searchsorted(values, highs, side="right")
    return np.array(
        [
            _divergence(weights, row, int(first), int(end))
            for row, first, end in zip(levels, firsts, ends, strict=True)
        ]
    )


def _divergence(weights: NDArray[np.int64], levels: NDArray[np.intp], first: int, end: int) -> float:
    """Relative entropy of the values clipped to bins first..end against those spread over their levels."""
    if first >= end:
        return np.inf
    kept, levels = weights[first:end], levels[first:end] - levels[first]
    clipped = kept.astype(np.float64)
    clipped[0] += weights[:first].sum()
    clipped[-1] += weights[end:].sum()
    spread = (np.bincount(levels, kept) / np.maximum(np.bincount(levels), 1))[levels]
    return _relative_entropy(clipped, spread)


def _relative_entropy(reference: _Floats, other: _Floats) -> float:
    reference, other = reference / reference.sum(), other / other.sum()
    return float(np.sum(reference * np.log(reference / other)))
