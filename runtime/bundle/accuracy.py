"""Top-1 accuracy, and its drop at a lower precision with a 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy on labelled images, and the drop against a reference on the same images.

    Attributes:
        top1: share of right answers, in percent.
        drop: reference less this, in percentage points; 0 for the reference itself.
        ci95: (low, high) of the 95 % interval of the drop, in percentage points.
        samples: number of images.
    """

    top1: float
    drop: float
    ci95: tuple[float, float]
    samples: int


def paired_accuracy(
    labels: NDArray[np.integer], reference: NDArray[np.floating], candidate: NDArray[np.floating]
) -> Accuracy:
    """Measure `candidate` against `reference`, both of shape (N, classes), on the same N images.

    The interval is that of Agresti and Min for a difference of paired proportions (Statistics in
    Medicine 24, 2005: one half is added to each cell of the 2x2 table), which keeps its coverage
    when only a handful of answers change.
    """
    was_right = reference.argmax(axis=1) == labels
    is_right = candidate.argmax(axis=1) == labels
    samples = len(labels)
    lost = float(np.sum(was_right & ~is_right))
    gained = float(np.sum(~was_right & is_right))
    return Accuracy(
        top1=100 * float(is_right.mean()),
        drop=100 * (lost - gained) / samples,
        ci95=_interval(lost + 0.5, gained + 0.5, samples + 2.0),
        samples=samples,
    )


def _interval(lost: float, gained: float, total: float) -> tuple[float, float]:
    difference = (lost - gained) / total
    spread = 1.959964 * math.sqrt(lost + gained - (lost - gained) ** 2 / total) / total
    low, high = difference - spread, difference + spread
    return max(-100.0, 100 * low), min(100.0, 100 * high)
