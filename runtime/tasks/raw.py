"""Raw outputs: embeddings, regressions, heads of any shape; nothing is read into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TaskError
from .base import Measure, Outputs, Task, View
from .drawing import with_text
from .outputs import OutputSpec, Part, whole_outputs

COMPARED = 4096  # values of an output that agreement looks at, evenly spaced
SHOWN = 1024  # values of an output that a row holds
DIGITS = 7

Values = dict[str, NDArray[Any]]  # of one sample, by output


class SignalCosine(Measure):
    """Cosine of the angle between two signals, in percent: the worst output's.

    The signal of an output is what remains of it when its mean over the samples, the reference's own, is
    taken off: a constant that both have says nothing.
    """

    name = "cosine of the signal"

    def count(self, wanted: Values, answer: Values) -> dict[str, NDArray[np.float32]]:
        """Some of both answers' values by output, shape (2, values)."""
        return {name: np.stack([_some(wanted[name]), _some(answer[name])]) for name in wanted}

    def value(self, counts: Sequence[dict[str, NDArray[np.float32]]]) -> float | None:
        """None where an output of the reference is the same for every sample."""
        if not len(counts):
            return None
        found = [self._cosine(np.stack([count[name] for count in counts])) for name in counts[0]]
        known = [each for each in found if each is not None]
        return 100 * max(0.0, min(known)) if len(known) == len(found) else None

    def _cosine(self, values: NDArray[np.float32]) -> float | None:
        """Of values of shape (N, 2, values)."""
        pair = values.astype(np.float64)
        wanted, got = (pair[:, i] - pair[:, 0].mean(axis=0) for i in (0, 1))
        norms = float(np.linalg.norm(wanted)), float(np.linalg.norm(got))
        if norms[0] == 0:
            return None
        return float(np.vdot(wanted, got) / (norms[0] * norms[1])) if norms[1] else 0.0


@dataclass(frozen=True)
class Raw(Task):
    """Outputs that are handed on as they are.

    Attributes:
        metric_function: a user's own measure, `file.py:function`, by which INT8 was judged where it was made;
            it is noted here, and never run on a device.
    """

    name: ClassVar[str] = "raw"
    places_nothing: ClassVar[bool] = True
    ties: ClassVar[float] = 1e-3

    metric_function: str = ""

    @property
    def agreement(self) -> Measure:
        """The cosine of the signals of the output that agrees least."""
        return SignalCosine()

    @property
    def metric(self) -> None:
        """There is no truth that would suit any output."""
        return

    def require_fit(self, outputs: Sequence[OutputSpec], labels: Sequence[str]) -> None:
        """Refuse outputs without a batch axis.

        Raises:
            TaskError: an output is a scalar.
        """
        for output in outputs:
            if not output.shape:
                raise TaskError(
                    f"The output {output.name!r} has no batch axis.",
                    wanted="shape (N, ...)",
                    got="a scalar",
                    todo="export the model without it",
                )

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Each output as a whole."""
        return whole_outputs(outputs)

    def decode(self, outputs: Outputs) -> list[Values]:
        """Each sample's values by output."""
        count = len(next(iter(outputs.values())))
        return [{name: values[i] for name, values in outputs.items()} for i in range(count)]

    def row(self, answer: Values, view: View) -> dict[str, Any]:
        """Shape and values of each output; of a large one only the first values."""
        return {"outputs": {name: _described(values) for name, values in answer.items()}}

    def draw(self, picture: Image.Image, answer: Values, view: View) -> Image.Image:
        """The picture with the extremes of each output."""
        return with_text(picture, self.lines(answer, view))

    def lines(self, answer: Values, view: View) -> list[str]:
        """The extremes of each output."""
        return [
            f"{name}: {float(values.min()):.4g} .. {float(values.max()):.4g}"
            for name, values in answer.items()
        ]


def _some(values: NDArray[Any]) -> NDArray[np.float32]:
    flat = np.asarray(values).ravel()
    if flat.size > COMPARED:
        flat = flat[np.linspace(0, flat.size - 1, COMPARED).astype(np.int64)]
    return flat.astype(np.float32)


def _described(values: NDArray[Any]) -> dict[str, Any]:
    flat = values.ravel()[:SHOWN]
    shown = [round(float(value), DIGITS) if values.dtype.kind == "f" else int(value) for value in flat]
    return {"shape": list(values.shape), "values": shown}
