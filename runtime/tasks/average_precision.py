"""Mean average precision as COCO defines it, of counts that can be added up again for any set of samples.

Lin et al., "Microsoft COCO" (arXiv 1405.0312) and its reference implementation: detections are matched to
truths by score, best first; precision is read at 101 recalls; at most 100 detections a picture count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Measure
from .boxes import Boxes, areas, intersections
from .figures import (
    Arrays,
    ClassFigures,
    Curve,
    Figures,
    Findings,
    calibration,
    joined,
    name_of_class,
    percent,
)

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100  # a picture


@dataclass(frozen=True)
class Matches:
    """What one picture adds: its detections, best first, and its truths.

    Attributes:
        classes, scores: of each detection that counts, shape (D,).
        hit: whether it found a truth, by threshold, shape (D, 10).
        skipped: whether it found one that is not judged, shape (D, 10).
        truths: class of each judged truth, shape (G,).
    """

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    hit: NDArray[np.bool_]
    skipped: NDArray[np.bool_]
    truths: NDArray[np.int64]


class MeanAveragePrecision(Measure):
    """mAP at IoU 0.5; at 0.75, and the mean over 0.5 to 0.95, beside it."""

    name = "mAP@0.5"

    def count(self, wanted: Boxes, answer: Boxes) -> Matches:
        """Match one picture's detections to its truths, all thresholds at once."""
        truth = wanted.take(np.argsort(wanted.ignore, kind="stable"))  # judged ones first
        found = _best_of_each_class(answer)
        overlaps = _overlaps(found.boxes, truth.boxes, truth.ignore)
        overlaps[found.classes[:, None] != truth.classes] = 0
        hit = np.zeros((len(found), len(THRESHOLDS)), bool)
        skipped = np.zeros_like(hit)
        taken = np.zeros((len(THRESHOLDS), len(truth)), bool)
        for d in np.flatnonzero((overlaps >= THRESHOLDS[0]).any(axis=1)):
            fits = overlaps[d] >= THRESHOLDS[:, None]
            free = fits & ~taken & ~truth.ignore
            allowed = np.where(free.any(axis=1)[:, None], free, fits & truth.ignore)
            best = _last_of_best(np.where(allowed, overlaps[d], -1))
            matched = allowed.any(axis=1)
            taken[matched, best[matched]] = True
            hit[d] = matched & ~truth.ignore[best]
            skipped[d] = matched & truth.ignore[best]
        return Matches(found.classes, found.scores, hit, skipped, truth.classes[~truth.ignore])

    def value(self, counts: Sequence[Matches]) -> float | None:
        """In percent, at IoU 0.5; None without a truth."""
        found = _means(counts, THRESHOLDS[:1])
        return None if found is None else 100 * float(found[0])

    def details(self, counts: Sequence[Matches]) -> dict[str, float]:
        """The others, in percent."""
        found = _means(counts, THRESHOLDS)
        if found is None:
            return {}
        return {"mAP@0.75": 100 * float(found[5]), "mAP@0.5:0.95": 100 * float(np.mean(found))}


class ObjectFindings(Findings):
    """Which objects were found, how surely, and which there were.

    Args:
        min_score: at which precision and recall of a class are told.
    """

    def __init__(self, min_score: float) -> None:
        self._min_score = min_score

    def of(self, wanted: Boxes, answer: Boxes) -> dict[str, NDArray[Any]]:
        """The arrays of `Matches` by name."""
        return vars(MeanAveragePrecision().count(wanted, answer))

    def count(self, found: Arrays) -> Matches:
        """As `MeanAveragePrecision` counts."""
        return Matches(**found)

    def figures(self, found: Sequence[Arrays], labels: Sequence[str]) -> Figures:
        """At IoU 0.5: average precision, precision and recall by class, curves, calibration of scores."""
        whole = Matches(**{name: joined(found, name) for name in Matches.__annotations__})
        judged = ~whole.skipped[:, 0]
        error, bins = calibration(whole.scores[judged], whole.hit[judged, 0])
        kinds = [int(index) for index in np.union1d(whole.truths, whole.classes[judged])]
        curves = [self._curve(whole, index, labels) for index in np.unique(whole.truths)]
        each = tuple(self._class(whole, index, labels) for index in kinds)
        return Figures(each, (), tuple(curves), error, bins, MeanAveragePrecision().details([whole]))

    def _class(self, whole: Matches, index: int, labels: Sequence[str]) -> ClassFigures:
        truths = int(np.sum(whole.truths == index))
        hits, scores = _of_class(whole, index)
        told = scores >= self._min_score
        return ClassFigures(
            name_of_class(labels, index),
            truths,
            100 * _average_precision(hits, truths) if truths else None,
            percent(np.count_nonzero(hits[told]), len(hits[told])),
            percent(np.count_nonzero(hits[told]), truths),
        )

    def _curve(self, whole: Matches, index: int, labels: Sequence[str]) -> Curve:
        right = np.cumsum(_of_class(whole, index)[0])
        recall = right / np.sum(whole.truths == index)
        precision = right / np.arange(1, len(right) + 1)
        return Curve(name_of_class(labels, int(index)), tuple(recall.tolist()), tuple(precision.tolist()))


def _of_class(whole: Matches, index: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Whether each judged detection of a class hit at IoU 0.5, and its score, the surest first."""
    mine = np.flatnonzero((whole.classes == index) & ~whole.skipped[:, 0])
    mine = mine[np.argsort(-whole.scores[mine], kind="stable")]
    return whole.hit[mine, 0], whole.scores[mine]


def _best_of_each_class(found: Boxes) -> Boxes:
    """At most MAX_DETECTIONS of each class, the best first."""
    found = found.take(np.argsort(-found.scores, kind="stable"))
    if len(found) <= MAX_DETECTIONS:
        return found
    grouped = np.argsort(found.classes, kind="stable")
    classes = found.classes[grouped]
    rank = np.empty(len(found), np.int64)
    rank[grouped] = np.arange(len(found)) - np.searchsorted(classes, classes)
    return found.take(rank < MAX_DETECTIONS)


def _overlaps(
    found: NDArray[np.float32], truth: NDArray[np.float32], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU of each detection and truth; over the detection's own area where the truth is a crowd."""
    first, second = found.astype(np.float64), truth.astype(np.float64)
    shared, own = intersections(first, second), areas(first)[:, None]
    union = np.where(crowd[None], own, own + areas(second)[None] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _last_of_best(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of each row's maximum, the last of equals, as COCO's implementation takes it."""
    return values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)


def _means(counts: Sequence[Matches], thresholds: NDArray[np.float64]) -> list[float] | None:
    """Mean over the classes that have truths, at the first thresholds; None without a truth."""
    if not counts:
        return None
    truths = np.concatenate([count.truths for count in counts])
    if not len(truths):
        return None
    judged, numbers = np.unique(truths, return_counts=True)
    classes = np.concatenate([count.classes for count in counts])
    scores = np.concatenate([count.scores for count in counts])
    hit = np.concatenate([count.hit for count in counts])
    skipped = np.concatenate([count.skipped for count in counts])
    order = np.lexsort((-scores, classes))
    means = []
    for t in range(len(thresholds)):
        kept = order[~skipped[order, t]]
        hits, kinds = hit[kept, t], classes[kept]
        starts, ends = np.searchsorted(kinds, judged, "left"), np.searchsorted(kinds, judged, "right")
        each = zip(starts, ends, numbers, strict=True)
        means.append(float(np.mean([_average_precision(hits[a:b], count) for a, b, count in each])))
    return means


def _average_precision(hits: NDArray[np.bool_], truths: int) -> float:
    """Mean precision at 101 recalls of detections in the order of their scores."""
    if not len(hits):
        return 0.0
    right = np.cumsum(hits)
    recall, precision = right / truths, right / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(precision[at[at < len(hits)]].sum() / len(RECALLS))
