"""Results of a runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..tasks.base import Task, View


@dataclass(frozen=True)
class Score:
    """One class with its probability, 0..1."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The answer to one frame.

    Attributes:
        source, frame: where it came from, and its number there.
        time: when it was taken from its source, in seconds since 1970.
        row: the answer as plain values, as the task gives it, such as `{"top": [...]}`, `{"areas": [...]}`,
            `{"objects": [...]}` or `{"outputs": {...}}`; in coordinates of the picture.
        latency_ms: milliseconds from then to the answer: decoding, preprocessing, waiting and inference.
        provider: the providers that ran nodes, such as cuda, or tensorrt+cpu.
        fallback: whether that is not what was requested.
        answer: as the task decoded it, in coordinates of the model's input.
        view: what a drawing of it needs.
        task: which draws it; None where no runner made the prediction.
    """

    source: str
    frame: int
    time: float
    row: Mapping[str, Any]
    latency_ms: float
    provider: str = "cpu"
    fallback: bool = False
    answer: Any = field(default=None, compare=False, repr=False)
    view: View | None = field(default=None, compare=False, repr=False)
    task: Task | None = field(default=None, compare=False, repr=False)

    @property
    def top(self) -> tuple[Score, ...]:
        """The best classes of a classification, the likeliest first; none for other tasks."""
        return tuple(Score(**score) for score in self.row.get("top", ()))

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        where = {"source": self.source, "frame": self.frame, "time": self.time}
        how = {"latency_ms": self.latency_ms, "provider": self.provider, "fallback": self.fallback}
        return {**where, **self.row, **how}


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read, and why.

    Attributes:
        source, frame: where it should have come from, and its number there.
        time: when, in seconds since 1970.
        error: what was wrong.
    """

    source: str
    frame: int
    time: float
    error: str


@dataclass
class Totals:
    """Counts of frames over all streams of a runner.

    Attributes:
        labelled: frames that got their classes.
        bad: frames that could not be read.
        dropped: frames of live cameras that were not read, because newer ones came first.
        skipped: files of folders that hold no frame.
        rotation_ignored: pictures that note a rotation which was not carried out.
    """

    labelled: int = 0
    bad: int = 0
    dropped: int = 0
    skipped: int = 0
    rotation_ignored: int = 0

    def __str__(self) -> str:
        return f"{self.labelled} labelled, {self.bad} that could not be read, {self.dropped} dropped"
