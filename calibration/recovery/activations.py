"""The values of a graph at one point of it, for all calibration inputs, and those that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..onnx_graph.evaluate import Evaluator
from ..onnx_graph.segments import between
from ..onnx_graph.shapes import input_of

BATCH = 4
MAX_HELD_BYTES = 2**28


class Activations:
    """Holds values batch by batch, and moves on through the graph where that takes little memory.

    Args:
        model: a graph with one input.
        samples: values of that input, shape (N, ...). For a model of fixed batch the first ones fill up the
            last batch.

    Attributes:
        names: the values that are held.
    """

    def __init__(self, model: onnx.ModelProto, samples: NDArray[Any]) -> None:
        given = input_of(model)
        size = given.shape[0] if isinstance(given.shape[0], int) else 0
        if size and len(samples) % size:
            samples = np.resize(samples, (-(-len(samples) // size) * size, *samples.shape[1:]))
        self.names: Sequence[str] = [given.name]
        size = size or BATCH
        self._held = [{given.name: samples[i : i + size]} for i in range(0, len(samples), size)]

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._held)

    def compute(self, part: onnx.ModelProto) -> Iterator[list[NDArray[Any]]]:
        """The outputs of a graph whose inputs are held, for one batch after the other."""
        evaluator = Evaluator(part)
        for values in self._held:
            yield list(evaluator.run(values).values())

    def values(self, model: onnx.ModelProto, name: str) -> Iterator[NDArray[Any]]:
        """A value of the model that follows from those that are held, for one batch after the other."""
        for (value,) in self.compute(between(model, self.names, [name])):
            yield value

    def advance(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        """Hold these values of the model instead, unless all batches together then take too much memory.

        What follows is computed from the held values, so nothing is lost but time where they stay.
        """
        evaluator = Evaluator(between(model, self.names, names))
        first = evaluator.run(self._held[0])
        if sum(value.nbytes for value in first.values()) * len(self) > MAX_HELD_BYTES:
            return
        self._held[0] = first
        for index, values in enumerate(self._held[1:], start=1):
            self._held[index] = evaluator.run(values)
        self.names = names
