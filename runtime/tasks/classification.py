"""Classification: one score a class; of a sequence, one a class at each position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TaskError
from .base import Measure, Outputs, Proportion, Task, View
from .drawing import with_text
from .figures import (
    Arrays,
    ClassFigures,
    Figures,
    Findings,
    calibration,
    confusions,
    joined,
    name_of_class,
    percent,
)
from .outputs import OutputSpec, Part, whole_outputs

DIGITS = 6  # of a probability in a row
TOP = 5


class _SameClass(Proportion):
    """Share of answers, one a sample or one a position of its sequence, that are the same class."""

    name = "top-1 agreement"

    def count(self, wanted: NDArray[np.floating], answer: NDArray[np.floating]) -> float:
        return float(np.mean(wanted.argmax(axis=-1) == answer.argmax(axis=-1)))


class _Top1(Proportion):
    """Share of answers, one a sample or one a position of its sequence, that are the right class."""

    name = "top-1"

    def count(self, wanted: Any, answer: NDArray[np.floating]) -> float:
        return float(np.mean(answer.argmax(axis=-1) == wanted))


class ClassFindings(Findings):
    """The class that was answered, how surely, and at which place the right one stood.

    Args:
        probabilities: whether scores are probabilities; they are logits else.
    """

    def __init__(self, *, probabilities: bool) -> None:
        self._probabilities = probabilities

    def of(self, wanted: Any, answer: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
        """Of the sample, or of each position of its sequence."""
        scores = answer.astype(np.float32).reshape(-1, answer.shape[-1])
        truth = np.asarray(wanted, np.int64).ravel()
        likely = scores if self._probabilities else softmax(scores)
        return {
            "truth": truth,
            "answer": scores.argmax(axis=1),
            "confidence": likely.max(axis=1),
            "rank": (scores > scores[np.arange(len(truth)), truth, None]).sum(axis=1),
        }

    def count(self, found: Arrays) -> float:
        """As `_Top1` counts."""
        return float(np.mean(found["truth"] == found["answer"]))

    def figures(self, found: Sequence[Arrays], labels: Sequence[str]) -> Figures:
        """Precision and recall by class, confusions, top-5, and the calibration error."""
        truth, answer, rank = (joined(found, name) for name in ("truth", "answer", "rank"))
        right = truth == answer
        error, bins = calibration(joined(found, "confidence"), right)
        each = []
        for index in np.union1d(truth, answer):
            mine, said = truth == index, answer == index
            recall = percent(np.count_nonzero(right & mine), np.count_nonzero(mine))
            precision = percent(np.count_nonzero(right & said), np.count_nonzero(said))
            name = name_of_class(labels, int(index))
            each.append(ClassFigures(name, int(np.count_nonzero(mine)), recall, precision, recall))
        details = {f"top-{TOP}": 100 * float(np.mean(rank < TOP))} if len(labels) > TOP else {}
        pairs = confusions(truth, answer, np.ones_like(truth), labels)
        return Figures(tuple(each), pairs, (), error, bins, details)


@dataclass(frozen=True)
class Classification(Task):
    """The first output holds a score a class: (N, classes), (N, classes, 1, 1) or (N, positions, classes)."""

    name: ClassVar[str] = "classification"
    places_nothing: ClassVar[bool] = True

    @property
    def agreement(self) -> Measure:
        """The share of answers that are the same class."""
        return _SameClass()

    @property
    def metric(self) -> Measure:
        """Top-1; the truth is a class index, or one for each position."""
        return _Top1()

    def require_fit(self, outputs: Sequence[OutputSpec], labels: Sequence[str]) -> None:
        """Refuse a first output that is not one score a class, for two classes or more.

        Raises:
            TaskError: a single score is always the largest, so agreement would be constant.
        """
        shape = outputs[0].shape
        shape = shape[:2] if shape[2:] == (1, 1) else shape
        classes = shape[-1] if len(shape) in (2, 3) else 0
        todo = ""
        if isinstance(classes, int) and classes < 2:
            todo = "choose another task: --task segmentation, --task detection:LAYOUT or --task raw"
        elif isinstance(classes, int) and labels and classes != len(labels):
            todo = (
                "give the data set that the model was trained on with --data, or a class_index.json that "
                "names all of the model's classes"
            )
        if todo:
            raise TaskError(
                f"The model's first output, {outputs[0].name!r}, is no classification"
                + (f" into {len(labels)} classes." if labels else "."),
                wanted=f"shape (N, {len(labels) or 'classes'}), one score a class, at least two classes",
                got=f"shape {('N', *shape[1:])}",
                todo=todo,
            )

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Each output as a whole."""
        return whole_outputs(outputs)

    def chance(self, truths: Iterable[Any]) -> float | None:
        """The share of the commonest class."""
        found = np.concatenate([np.ravel(truth) for truth in truths])
        return 100 * float(np.unique(found, return_counts=True)[1].max()) / len(found)

    def findings(self, outputs: Sequence[OutputSpec]) -> Findings:
        """By class, with confusions and the calibration of probabilities."""
        return ClassFindings(probabilities=outputs[0].scores == "probabilities")

    def ranks(self, outputs: Sequence[OutputSpec]) -> bool:
        """A sequence has no best classes, but one at each position."""
        return len(outputs[0].shape) != 3

    def decode(self, outputs: Outputs) -> list[NDArray[np.floating]]:
        """The scores of each sample, shape (classes,) or (positions, classes)."""
        scores = next(iter(outputs.values()))
        return list(scores[:, :, 0, 0] if scores.ndim == 4 else scores)

    def row(self, answer: NDArray[np.floating], view: View) -> dict[str, Any]:
        """The best classes with their probabilities; of a sequence, the class at each position."""
        if answer.ndim > 1:
            return {"sequence": [_label(view, int(i)) for i in answer.argmax(axis=-1)]}
        return {
            "top": [
                {"index": index, "label": _label(view, index), "probability": probability}
                for index, probability in best_classes(answer, view)
            ]
        }

    def draw(self, picture: Image.Image, answer: NDArray[np.floating], view: View) -> Image.Image:
        """The picture with one line for each class in its upper left corner."""
        return with_text(picture, self.lines(answer, view))

    def lines(self, answer: NDArray[np.floating], view: View) -> list[str]:
        """The best classes with their probabilities, one a line; a sequence in one."""
        if answer.ndim > 1:
            return [" ".join(self.row(answer, view)["sequence"])]
        return [f"{100 * p:5.1f} %  {_label(view, i)}" for i, p in best_classes(answer, view)]


def best_classes(scores: NDArray[np.floating], view: View) -> list[tuple[int, float]]:
    """The classes with the largest scores, and their probabilities, the likeliest first.

    Args:
        scores: of one sample, shape (classes,): logits, or probabilities where the output says so.
        view: says how many.
    """
    values = scores.astype(np.float32)
    likely = values if view.outputs[0].scores == "probabilities" else softmax(values)
    order = np.argsort(-likely, kind="stable")[: view.top]
    return [(int(i), round(float(likely[i]), DIGITS)) for i in order]


def softmax(scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities of logits, along the last axis."""
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def _label(view: View, index: int) -> str:
    return name_of_class(view.labels, index)
