"""What labelled samples tell of a model beside its metric: by class, and how far scores can be trusted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width, as in Guo et al.
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ClassFigures:
    """One class.

    Attributes:
        label: its name.
        truths: how often it is the truth: in samples, pixels or objects.
        value: the task's metric of this class alone, in percent.
        precision: of the answers that name it, the share that is right, in percent; None where none does.
        recall: of its truths, the share that is found, in percent; None without a truth.
    """

    label: str
    truths: int
    value: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Confusion:
    """How often a class was answered where another, or the same, was the truth: in samples or pixels."""

    truth: str
    answer: str
    count: int


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one class, 0..1, in the order of growing recall."""

    label: str
    recall: tuple[float, ...]
    precision: tuple[float, ...]


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence.

    Attributes:
        confidence: their mean confidence, 0..1.
        right: the share of them that is right, 0..1.
        count: of the answers.
    """

    confidence: float
    right: float
    count: int


@dataclass(frozen=True)
class Figures:
    """All of it.

    Attributes:
        by_class: of each class that is a truth or an answer.
        confusions: of each pair that occurs, the commonest first; empty where a task has none.
        curves: of each class that has truths; empty where a task has none.
        calibration_error: the expected calibration error in percent (Guo et al., arXiv 1706.04599); None
            where answers have no probabilities.
        bins: from which it was found; empty bins are left out.
        details: more quantities by name, in percent.
    """

    by_class: tuple[ClassFigures, ...]
    confusions: tuple[Confusion, ...] = ()
    curves: tuple[Curve, ...] = ()
    calibration_error: float | None = None
    bins: tuple[Bin, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)


class Findings(ABC):
    """What is kept of each labelled sample, as arrays, and what a set of samples tells."""

    @abstractmethod
    def of(self, wanted: Any, answer: Any) -> dict[str, NDArray[Any]]:
        """What one sample tells.

        Args:
            wanted: the truth, in coordinates of the model's input.
            answer: the model's, as the task for its metric decodes it.
        """

    @abstractmethod
    def count(self, found: Arrays) -> Any:
        """What the task's metric counts of a sample, from what was kept of it."""

    @abstractmethod
    def figures(self, found: Sequence[Arrays], labels: Sequence[str]) -> Figures:
        """What all samples tell.

        Args:
            found: of each sample.
            labels: name of each class.
        """


def name_of_class(labels: Sequence[str], index: int) -> str:
    """A class's name; its number where it has none."""
    return labels[index] if index < len(labels) else str(index)


def joined(found: Sequence[Arrays], name: str) -> NDArray[Any]:
    """One array of all samples."""
    return np.concatenate([each[name] for each in found])


def confusions(
    truth: NDArray[np.int64], answer: NDArray[np.int64], counts: NDArray[np.int64], labels: Sequence[str]
) -> tuple[Confusion, ...]:
    """Each pair that occurs, the commonest first.

    Args:
        truth, answer, counts: of pairs, which may repeat, shape (N,).
        labels: name of each class.
    """
    pairs, place = np.unique(np.stack([truth, answer]), axis=1, return_inverse=True)
    sums = np.bincount(place.ravel(), weights=counts).astype(np.int64)
    order = np.argsort(-sums, kind="stable")
    return tuple(
        Confusion(name_of_class(labels, int(t)), name_of_class(labels, int(a)), int(n))
        for t, a, n in zip(*pairs[:, order], sums[order], strict=True)
    )


def calibration(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[float | None, tuple[Bin, ...]]:
    """The expected calibration error in percent, and the bins; None and no bins without an answer.

    Args:
        confidence: of each answer, 0..1, shape (N,).
        right: whether it is right, shape (N,).
    """
    if not len(confidence):
        return None, ()
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = []
    for number in np.unique(place):
        chosen = place == number
        share = float(right[chosen].mean())
        bins.append(Bin(float(confidence[chosen].mean(dtype=np.float64)), share, int(chosen.sum())))
    error = sum(each.count * abs(each.right - each.confidence) for each in bins) / len(confidence)
    return 100 * error, tuple(bins)


def percent(part: Any, whole: Any) -> float | None:
    """A share in percent; None of nothing."""
    return 100 * float(part) / float(whole) if whole else None
