"""A task's metric on labelled samples, and its drop at a lower precision with a 95 % interval."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..tasks.base import Measure, Proportion

RESAMPLES = 500  # of the bootstrap
SEED = 0
MAX_SAMPLES = 10_000_000  # beyond this nobody can decide


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
        lost, gained: samples that the reference alone had right, and that this alone had; None where a sample
            can be right in part.
    """

    metric: str
    value: float
    drop: float
    ci95: tuple[float, float]
    samples: int
    top1: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)
    lost: int | None = None
    gained: int | None = None

    def within(self, budget: float) -> bool | None:
        """Whether the drop is within a budget, in percentage points; None where the interval is unsure."""
        return _within(self.ci95, budget)

    def samples_to_decide(self, budget: float) -> int | None:
        """About how many samples more would decide, if they answered as these did.

        The interval of counted samples is found anew for the larger number; that of other metrics is taken to
        shrink with the root of the number.

        Args:
            budget: in percentage points.

        Returns:
            0 where it is decided; None where no number of samples would, or more than 10 million.
        """
        needed = next((n for n in _larger(self.samples) if self._decides(n, budget)), None)
        if needed is None:
            return None
        return bisect_left(range(self.samples, needed), True, key=lambda n: self._decides(n, budget))

    def _decides(self, samples: int, budget: float) -> bool:
        scale = samples / self.samples
        if self.lost is None or self.gained is None:
            low, high = (self.drop + (end - self.drop) / math.sqrt(scale) for end in self.ci95)
        else:
            low, high = agresti_min(self.lost * scale, self.gained * scale, samples)
        return _within((low, high), budget) is not None


def _within(interval: tuple[float, float], budget: float) -> bool | None:
    low, high = interval
    return True if high <= budget else False if low > budget else None


def _larger(samples: int) -> Iterator[int]:
    """The number itself, then twice as many, up to 10 million."""
    while samples <= MAX_SAMPLES:
        yield samples
        samples *= 2


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
    lost = gained = None
    if isinstance(measure, Proportion) and {*reference, *candidate} <= {0, 1}:
        was_right, is_right = np.asarray(reference, bool), np.asarray(candidate, bool)
        lost, gained = int(np.sum(was_right & ~is_right)), int(np.sum(~was_right & is_right))
        interval = agresti_min(lost, gained, len(candidate))
    else:
        interval = _bootstrap(measure, reference, candidate)
    return Accuracy(
        metric=measure.name,
        value=now,
        drop=was - now,
        ci95=interval,
        samples=len(candidate),
        top1=now if measure.name == "top-1" else None,
        details=measure.details(candidate),
        lost=lost,
        gained=gained,
    )


def agresti_min(lost: float, gained: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a drop of paired shares, in percentage points (Agresti and Min, 2005).

    Args:
        lost: samples that the reference alone has right.
        gained: samples that the candidate alone has right.
        samples: of all.
    """
    lost, gained, total = lost + 0.5, gained + 0.5, samples + 2.0
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
