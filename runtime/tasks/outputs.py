"""Names, shapes and dtypes of inputs and outputs, and the parts of outputs that are judged apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (an int, or a name for an axis that may vary) and numpy dtype of an input or output."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class OutputSpec(TensorSpec):
    """An output; `scores` tells whether its rows are logits or already probabilities."""

    scores: Literal["logits", "probabilities"] = "logits"


@dataclass(frozen=True)
class Part:
    """Values of one output that have one unit. Parity judges each part apart, relative to its own signal.

    Attributes:
        output: name of the output.
        name: what to call the part; the output's own name where it is the whole output.
        axis: the axis along which the output is cut; None for the whole output.
        start, stop: the first index of the part on that axis, and the one after its last; None for the end.
    """

    output: str
    name: str
    axis: int | None = None
    start: int = 0
    stop: int | None = None

    def of(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The part's values, of shape (N, ...); an empty array where there is no such output."""
        values = outputs.get(self.output, np.empty(0))
        if self.axis is None or values.ndim <= self.axis:
            return values
        cut: list[slice] = [slice(None)] * values.ndim
        cut[self.axis] = slice(self.start, self.stop)
        return values[tuple(cut)]


def whole(output: str) -> Part:
    """A whole output as one part."""
    return Part(output, output)


def whole_outputs(outputs: Sequence[TensorSpec]) -> tuple[Part, ...]:
    """Each output as one part."""
    return tuple(whole(output.name) for output in outputs)


def specs_of(outputs: Mapping[str, NDArray[Any]]) -> tuple[OutputSpec, ...]:
    """Describe the outputs of a model by its answers to some inputs; the batch axis may vary.

    Args:
        outputs: by name, each of shape (N, ...).
    """
    return tuple(
        OutputSpec(
            name,
            ("batch", *values.shape[1:]),
            str(values.dtype),
            "probabilities" if _are_probabilities(values) else "logits",
        )
        for name, values in outputs.items()
    )


def _are_probabilities(values: NDArray[Any]) -> bool:
    return values.ndim == 2 and bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3))
