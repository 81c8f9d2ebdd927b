"""Latencies and their percentiles by nearest rank; a percentile with too few samples is None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one inference, over many.

    Attributes:
        samples: how many were measured.
        mean, least, most: over all of them.
        p50, p90, p95, p99, p99_9: percentiles as `percentile` defines them; None with too few samples.
    """

    samples: int
    mean: float
    least: float
    most: float
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None


def percentile(ordered: Sequence[float], permille: int) -> float | None:
    """The least sample that `permille` thousandths of all samples do not exceed (nearest rank).

    It is a sample that was really measured, never one made up between two: definition 1 of Hyndman and Fan,
    "Sample Quantiles in Statistical Packages" (1996).

    Args:
        ordered: the samples, ascending.
        permille: 1 to 999; 500 for the median, 999 for p99.9.

    Returns:
        None with fewer samples than have one beyond it: p99.9 needs 1000, p99 100, the median 2.
    """
    count = len(ordered)
    if count * (1000 - permille) < 1000:
        return None
    return ordered[-(-count * permille // 1000) - 1]  # in integers: 0.95 * 20 is more than 19 in floats


def summarize_latency(seconds: Sequence[float]) -> Latency:
    """Mean, extremes and percentiles of at least one latency, given in seconds."""
    ordered: list[float] = (1000 * np.sort(np.asarray(seconds, np.float64))).tolist()
    p50, p90, p95, p99, p99_9 = (percentile(ordered, permille) for permille in (500, 900, 950, 990, 999))
    mean = min(max(float(np.mean(ordered)), ordered[0]), ordered[-1])  # rounding may carry it past an end
    return Latency(len(ordered), mean, ordered[0], ordered[-1], p50, p90, p95, p99, p99_9)
