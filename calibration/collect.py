"""What values flow through a model on real inputs, gathered in constant memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..runtime.errors import DataError
from ..runtime.session import Session
from .graph import expose, float_values


@dataclass(frozen=True)
class Range:
    """The smallest and the largest value seen."""

    low: float
    high: float

    @property
    def absmax(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def union(self, other: Range) -> Range:
        """The range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def collect_ranges(model: onnx.ModelProto, batches: Iterable[NDArray[Any]]) -> dict[str, Range]:
    """Range of the input and of every float value that a node produces, over all batches.

    Only the running minimum and maximum are kept, so memory does not grow with the number of batches.

    Raises:
        DataError: there are no batches, or a value is NaN or Inf.
    """
    ranges: dict[str, Range] = {}
    names = float_values(model)
    with Session(expose(model, names).SerializeToString()) as session:
        for batch in filter(len, batches):
            values = {session.input_name: batch, **session.run(batch)}
            for name in (
                session.input_name,
                *names,
            ):  # in the order of the graph: NaN is named where it starts
                found = _range_of(name, values[name])
                ranges[name] = found.union(ranges[name]) if name in ranges else found
    if not ranges:
        raise DataError("There are no calibration samples.", wanted="at least one batch of real inputs")
    return ranges


def _range_of(name: str, values: NDArray[Any]) -> Range:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError(
            f"The value {name!r} is NaN or Inf on the calibration inputs.",
            todo="look at the inputs' preprocessing, and at the weights of the node that makes it",
        )
    return Range(low, high)
