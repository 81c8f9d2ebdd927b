"""From the distribution of a tensor's values to the range that its integers cover.

Four methods, each a function of a histogram and an integer format: the extremes, a percentile, the least
relative entropy, and the least mean square error. A wide range rounds coarsely, a narrow one clips; they
differ in how they weigh the two. Which of them is best for a tensor only the network's output can tell: see
range_search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from .histogram import SIDE, Histogram
from .integer_format import IntegerFormat
from .statistics import Range

PERCENTILE = 99.99
OCTAVES = 5  # a range is never cut to less than 1/32 of the extremes
STEPS_PER_OCTAVE = 16  # so neighbouring candidates differ by 4 %, where the error is flat
SHRINKING = np.exp2(-np.arange(OCTAVES * STEPS_PER_OCTAVE + 1) / STEPS_PER_OCTAVE)

_Floats = NDArray[np.float64]
_Ends = tuple[_Floats, _Floats]  # lows and highs of some ranges
_Cost = Callable[[_Floats, _Floats], _Floats]


def max_range(histogram: Histogram, format_: IntegerFormat) -> Range:
    """Everything that was seen: nothing is clipped."""
    return format_.around(Range(histogram.low, histogram.high))


def percentile_range(histogram: Histogram, format_: IntegerFormat) -> Range:
    """The values without the outermost 0.01 % at each end."""
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    outside = 1 - PERCENTILE / 100
    edges = np.append(histogram.centres - histogram.width / 2, histogram.centres[-1] + histogram.width / 2)
    low = edges[np.searchsorted(shares, outside, side="right")]
    high = edges[np.searchsorted(shares, 1 - outside) + 1]
    return format_.around(Range(max(float(low), histogram.low), min(float(high), histogram.high)))


def entropy_range(histogram: Histogram, format_: IntegerFormat) -> Range:
    """The range whose quantized values have the least relative entropy to the original ones.

    Migacz, "8-bit Inference with TensorRT", GTC 2017: the clipped distribution is compared with the one that
    remains when all values of a level are spread evenly over its bins. The bin at zero counts as much as its
    neighbour: what an activation function cuts off is exactly zero and is quantized without error.
    """
    return _least(histogram, format_, lambda lows, highs: _divergences(histogram, format_, lows, highs))


def mse_range(histogram: Histogram, format_: IntegerFormat) -> Range:
    """The range with the least mean square error of rounding and clipping.

    Sung, Shin and Hwang, "Resiliency of Deep Neural Networks under Quantization" (arXiv 1511.06488), with the
    expectation taken over the histogram's bins.
    """
    return _least(histogram, format_, lambda lows, highs: _square_errors(histogram, format_, lows, highs))


METHODS: Mapping[str, Callable[[Histogram, IntegerFormat], Range]] = {
    "max": max_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}


def square_error(histogram: Histogram, format_: IntegerFormat, chosen: Range) -> float:
    """Mean square error of quantizing the values of a histogram with a range."""
    return float(_square_errors(histogram, format_, np.array([chosen.low]), np.array([chosen.high]))[0])


def _both_ends(start: Range) -> _Ends:
    return start.low * SHRINKING, start.high * SHRINKING


def _upper_end(start: Range) -> _Ends:
    return np.full(SHRINKING.shape, start.low), start.high * SHRINKING


def _lower_end(start: Range) -> _Ends:
    return start.low * SHRINKING, np.full(SHRINKING.shape, start.high)


def _least(histogram: Histogram, format_: IntegerFormat, cost: _Cost) -> Range:
    """The cheapest range, from the extremes inwards.

    The best place of either end of an affine range depends on the other, so they take turns.
    """
    best = max_range(histogram, format_)
    for narrowed in (_both_ends,) if format_.symmetric else (_upper_end, _lower_end) * 2:
        lows, highs = narrowed(best)
        cheapest = int(np.argmin(cost(lows, highs)))
        best = Range(float(lows[cheapest]), float(highs[cheapest]))
    return best


def _square_errors(histogram: Histogram, format_: IntegerFormat, lows: _Floats, highs: _Floats) -> _Floats:
    bins = np.flatnonzero(histogram.counts)
    values = np.clip(histogram.centres[bins], histogram.low, histogram.high)
    scales, zeros = format_.parameters(lows[:, None], highs[:, None])
    errors = (format_.round(values, scales, zeros) - zeros) * scales - values
    return errors**2 @ histogram.counts[bins] / histogram.counts.sum()


def _divergences(histogram: Histogram, format_: IntegerFormat, lows: _Floats, highs: _Floats) -> _Floats:
    counts = histogram.counts.copy()
    beside_zero = max(counts[SIDE - 1], counts[SIDE + 1])
    if 0 < beside_zero < counts[SIDE]:
        counts[SIDE] = beside_zero
    bins = np.flatnonzero(counts)
    values, weights = np.clip(histogram.centres[bins], histogram.low, histogram.high), counts[bins]
    levels = format_.round(values, *format_.parameters(lows[:, None], highs[:, None])).astype(np.intp)
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
