"""Mean average precision as COCO defines it, of counts that can be added up again for any set of samples.

Lin et al., "Microsoft COCO" (arXiv 1405.0312) and its reference implementation: detections are matched to
truths by score, best first; precision is read at 101 recalls; at most 100 detections a picture count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import Measure
from .boxes import Boxes, areas, intersections

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100  # a picture


@dataclass(frozen=True)
class Matches:
    """What one picture adds, by class: its detections, best first, and how many truths there are.

    Attributes:
        classes, scores: of each detection that counts, shape (D,).
        hit: whether it found a truth, by threshold, shape (10, D).
        skipped: whether it found one that is not judged, or none and lies on such a one, shape (10, D).
        truths: number of judged truths by class.
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    hit: NDArray[np.bool_]
    skipped: NDArray[np.bool_]
    truths: dict[int, int]


class MeanAveragePrecision(Measure):
    """mAP at IoU 0.5; at 0.75, and the mean over 0.5 to 0.95, beside it."""

    name = "mAP@0.5"

    def count(self, wanted: Boxes, answer: Boxes) -> Matches:
        """Match one picture's detections to its truths."""
        classes = np.unique(np.concatenate([wanted.classes, answer.classes]))
        parts = [self._match(wanted, answer, int(each)) for each in classes]
        truths = {int(c): int((~wanted.ignore[wanted.classes == c]).sum()) for c in classes}
        if not parts:
            nothing = np.zeros((len(THRESHOLDS), 0), bool)
            return Matches(np.zeros(0, np.int64), np.zeros(0, np.float32), nothing, nothing, truths)
        return Matches(
            np.concatenate([part.classes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.hit for part in parts], axis=1),
            np.concatenate([part.skipped for part in parts], axis=1),
            truths,
        )

    def value(self, counts: Sequence[Matches]) -> float | None:
        """In percent, at IoU 0.5; None without a truth."""
        found = self._by_threshold(counts, [0])
        return None if found is None else 100 * float(found[0])

    def details(self, counts: Sequence[Matches]) -> dict[str, float]:
        """The others, in percent."""
        found = self._by_threshold(counts, list(range(len(THRESHOLDS))))
        if found is None:
            return {}
        return {"mAP@0.75": 100 * float(found[5]), "mAP@0.5:0.95": 100 * float(found.mean())}

    def _match(self, wanted: Boxes, answer: Boxes, index: int) -> Matches:
        truth, found = wanted.take(wanted.classes == index), answer.take(answer.classes == index)
        truth = truth.take(np.argsort(truth.ignore, kind="stable"))  # judged ones first
        found = found.take(np.argsort(-found.scores, kind="stable")[:MAX_DETECTIONS])
        overlaps = _overlaps(found.boxes, truth.boxes, truth.ignore)
        hit = np.zeros((len(THRESHOLDS), len(found)), bool)
        skipped = np.zeros_like(hit)
        for t, threshold in enumerate(THRESHOLDS):
            taken = np.zeros(len(truth), bool)
            for d in range(len(found)):
                match = _best(overlaps[d], taken, truth.ignore, min(threshold, 1 - 1e-10))
                if match is None:
                    continue
                taken[match] = True
                hit[t, d] = not truth.ignore[match]
                skipped[t, d] = truth.ignore[match]
        return Matches(np.full(len(found), index), found.scores, hit, skipped, {})

    def _by_threshold(self, counts: Sequence[Matches], which: list[int]) -> NDArray[np.float64] | None:
        truths: dict[int, int] = {}
        for count in counts:
            for index, number in count.truths.items():
                truths[index] = truths.get(index, 0) + number
        judged = [index for index, number in truths.items() if number]
        if not judged:
            return None
        classes = np.concatenate([count.classes for count in counts])
        scores = np.concatenate([count.scores for count in counts])
        hit = np.concatenate([count.hit[which] for count in counts], axis=1)
        skipped = np.concatenate([count.skipped[which] for count in counts], axis=1)
        order = np.argsort(-scores, kind="stable")
        classes, hit, skipped = classes[order], hit[:, order], skipped[:, order]
        found = [
            [_average_precision(hit[t, own][~skipped[t, own]], truths[index]) for t in range(len(which))]
            for index in judged
            for own in (classes == index,)
        ]
        return np.mean(found, axis=0)


def _overlaps(
    found: NDArray[np.float32], truth: NDArray[np.float32], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU of each detection and truth; over the detection's own area where the truth is a crowd."""
    first, second = found.astype(np.float64), truth.astype(np.float64)
    shared, own = intersections(first, second), areas(first)[:, None]
    union = np.where(crowd[None], own, own + areas(second)[None] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _best(
    overlaps: NDArray[np.float64], taken: NDArray[np.bool_], ignore: NDArray[np.bool_], threshold: float
) -> int | None:
    """The truth that a detection finds: a judged one that is free before one that is not judged."""
    for candidates in (~ignore & ~taken, ignore):
        fits = np.flatnonzero(candidates & (overlaps >= threshold))
        if len(fits):
            return int(fits[len(fits) - 1 - np.argmax(overlaps[fits][::-1])])  # the last of equals, as COCO
    return None


def _average_precision(hits: NDArray[np.bool_], truths: int) -> float:
    """Mean precision at 101 recalls of detections in the order of their scores."""
    if not len(hits):
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / truths, right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(hits), precision[np.minimum(at, len(hits) - 1)], 0).mean())
