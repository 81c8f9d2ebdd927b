"""A task: what a model's answers mean, and how two of them, or an answer and the truth, are compared.

A new task is one file with a subclass of `Task`, and its line in the registry. Nothing else in the three
floors knows a task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .figures import Findings
from .geometry import Geometry
from .outputs import OutputSpec, Part

Outputs = Mapping[str, NDArray[Any]]  # by name, each of shape (N, ...)


class Measure(ABC):
    """A quantity of a set of samples that is made of a count for each, so that intervals can be found.

    Attributes:
        name: as it is printed, such as "top-1" or "mIoU".
    """

    name: str

    @abstractmethod
    def count(self, wanted: Any, answer: Any) -> Any:
        """What one sample adds.

        Args:
            wanted: the truth, or the answer that is the reference.
            answer: what is measured, as `Task.decode` gives it.
        """

    @abstractmethod
    def value(self, counts: Sequence[Any]) -> float | None:
        """The quantity, in percent, 0..100; None where no sample has anything to judge."""

    def details(self, counts: Sequence[Any]) -> dict[str, float]:
        """More quantities of the same samples by name, in percent; none for most."""
        return {}


@dataclass(frozen=True)
class View:
    """What a row or a drawing needs beside an answer.

    Attributes:
        labels: name of each class.
        outputs: of the model.
        geometry: of the picture; None for a tensor.
        top: how many classes to tell, at the most.
    """

    labels: Sequence[str]
    outputs: Sequence[OutputSpec]
    geometry: Geometry | None = None
    top: int = 5


@dataclass(frozen=True)
class Task(ABC):
    """What a model's answers mean. Subclasses are frozen dataclasses whose fields are their parameters.

    Attributes:
        name: as it is typed, and as it stands in a manifest.
        agreement: of a model with a reference, without labels; `wanted` is the reference's answer.
        metric: of a model, with labels; `wanted` is the truth.
        array_names: fields that hold arrays, such as anchors; in a bundle they stand in task.npz.
        places_nothing: whether a truth is the same wherever the picture stands in the model's input.
        ties: share of the agreement, 0..1, that float32's rounding may cost where two answers are as good as
            equal; 0 where answers are counted whole.
    """

    name: ClassVar[str]
    array_names: ClassVar[tuple[str, ...]] = ()
    places_nothing: ClassVar[bool] = False
    ties: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def agreement(self) -> Measure:
        """Compares answers with a reference's."""

    @property
    @abstractmethod
    def metric(self) -> Measure | None:
        """Compares answers with the truth; None where a task knows no truth."""

    @abstractmethod
    def require_fit(self, outputs: Sequence[OutputSpec], labels: Sequence[str]) -> None:
        """Refuse outputs that the task cannot read, or whose agreement would be the same for any model.

        Raises:
            TaskError: says what is wanted, and which task would fit.
        """

    @abstractmethod
    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """What parity judges, each apart: every value of every output is in one of them."""

    @abstractmethod
    def decode(self, outputs: Outputs) -> list[Any]:
        """One answer a sample, in coordinates of the model's input.

        Raises:
            TaskError: the outputs do not fit.
        """

    @abstractmethod
    def row(self, answer: Any, view: View) -> dict[str, Any]:
        """An answer as plain values, for JSON."""

    @abstractmethod
    def draw(self, picture: Image.Image, answer: Any, view: View) -> Image.Image:
        """A copy of the picture, in RGB, that shows the answer."""

    @abstractmethod
    def lines(self, answer: Any, view: View) -> list[str]:
        """The answer in a few lines of text."""

    def for_input(self, shape: Sequence[int]) -> Task:
        """The task of a model with this input, shape (channels, height, width); for most it is the same."""
        return self

    def for_metric(self) -> Task:
        """The task as its metric reads answers; for most it is the same."""
        return self

    def chance(self, truths: Iterable[Any]) -> float | None:
        """The metric of a model that always gives the commonest truth, in percent; None for most tasks."""
        return None

    def findings(self, outputs: Sequence[OutputSpec]) -> Findings | None:
        """What labelled samples tell beside the metric; None where the task knows no truth."""
        return None

    def ranks(self, outputs: Sequence[OutputSpec]) -> bool:
        """Whether a row holds the best classes, so that a table can have a column for each."""
        return False

    def truth_in_input(self, truth: Any, geometry: Geometry, answer: Any) -> Any:
        """A truth in coordinates of the picture, as one in those of the model's input.

        Args:
            truth: as a data set gives it.
            geometry: of the sample's picture.
            answer: a model's to the same sample, which tells the size of a map.
        """
        return truth

    def maps(self, answer: Any, view: View) -> dict[str, Image.Image]:
        """What of an answer is a picture itself, such as a mask, by the ending of its file's name."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the task needs beside its parameters, by the fields' names; empty for most."""
        found = {name: getattr(self, name) for name in self.array_names}
        return {name: value for name, value in found.items() if value is not None}


class Proportion(Measure):
    """A share of samples, each of which is right or wrong; of one with several answers, right in part."""

    def value(self, counts: Sequence[float]) -> float | None:
        """In percent."""
        return 100 * float(np.mean(counts)) if len(counts) else None
