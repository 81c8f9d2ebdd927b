"""A task's metric on labelled samples, and its drop at a lower precision with a 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..tasks.base import Measure, Proportion

RESAMPLES = 500  # of the bootstrap
SEED = 0


@dataclass(frozen=True)
class Accuracy:
    """A metric on a set of samples, and the drop against a reference on the same samples.

    Attributes:
        metric: its name, such as "top-1" or "mIoU"; without labels, what the task's agreement is called.
        value: in percent.
        drop: reference less this, in percentage points; 0 for the reference itself.
        ci95: (low, high) of the 95 % interval of the drop, in percentage points.
        samples: number of samples.
        top1: the value of a classification with labels; None for other metrics.
        details: other metrics of the same samples by name, in percent.
    """

    metric: str
    value: float
    drop: float
    ci95: tuple[float, float]
    samples: int
    top1: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)


def paired_accuracy(measure: Measure, reference: Sequence[Any], candidate: Sequence[Any]) -> Accuracy:
    """Measure a candidate against a reference on the same samples.

    The interval of a share is that of Agresti and Min for a difference of paired proportions (Statistics in
    Medicine 24, 2005: one half is added to each cell of the 2x2 table), which keeps its coverage when only a
    handful of answers change. That of other measures, and of samples that are right in part, is the
    percentile bootstrap over samples (Efron, 1979).

    Args:
        measure: what is measured.
        reference, candidate: its counts of each sample, in the same order.

    Raises:
        ValueError: no sample has anything to judge.
    """
    was, now = measure.value(reference), measure.value(candidate)
    if was is None or now is None:
        raise ValueError(f"{measure.name} cannot be judged on {len(candidate)} samples")
    whole = isinstance(measure, Proportion) and {*reference, *candidate} <= {0, 1}
    interval = _of_shares if whole else _bootstrap
    return Accuracy(
        metric=measure.name,
        value=now,
        drop=was - now,
        ci95=interval(measure, reference, candidate),
        samples=len(candidate),
        top1=now if measure.name == "top-1" else None,
        details=measure.details(candidate),
    )


def _of_shares(measure: Measure, reference: Sequence[Any], candidate: Sequence[Any]) -> tuple[float, float]:
    was_right, is_right = np.asarray(reference, bool), np.asarray(candidate, bool)
    lost = float(np.sum(was_right & ~is_right)) + 0.5
    gained = float(np.sum(~was_right & is_right)) + 0.5
    total = len(candidate) + 2.0
    difference = (lost - gained) / total
    spread = 1.959964 * math.sqrt(lost + gained - (lost - gained) ** 2 / total) / total
    low, high = difference - spread, difference + spread
    return max(-100.0, 100 * low), min(100.0, 100 * high)


def _bootstrap(measure: Measure, reference: Sequence[Any], candidate: Sequence[Any]) -> tuple[float, float]:
    random = np.random.default_rng(SEED)
    drops = []
    for _ in range(RESAMPLES):
        chosen = random.integers(0, len(candidate), len(candidate))
        was = measure.value([reference[i] for i in chosen])
        now = measure.value([candidate[i] for i in chosen])
        if was is not None and now is not None:
            drops.append(was - now)
    low, high = np.percentile(drops, (2.5, 97.5)) if drops else (-100.0, 100.0)
    return float(low), float(high)
