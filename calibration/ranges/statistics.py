"""What values flow through a model on real inputs, gathered in constant memory."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.errors import DataError, ModelError
from ...runtime.session.session import Session
from ..onnx_graph.graph import expose, float_values
from .histogram import EMPTY, Histogram

PER_SAMPLE = 8192


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


@dataclass(frozen=True)
class Statistics:
    """The values of a model on its calibration inputs.

    Attributes:
        samples: number of inputs.
        ranges: exact extremes of the input and of every float value that a node produces.
        histograms: distribution of the values that were asked for.
    """

    samples: int
    ranges: Mapping[str, Range]
    histograms: Mapping[str, Histogram]


def collect_ranges(model: onnx.ModelProto, batches: Iterable[NDArray[Any]]) -> dict[str, Range]:
    """Range of the input and of every float value that a node produces, over all batches.

    Only the running minimum and maximum are kept, so memory does not grow with the number of batches.

    Raises:
        DataError: there are no batches, or a value is NaN or Inf.
    """
    return dict(collect_statistics(model, batches, ()).ranges)


def collect_statistics(
    model: onnx.ModelProto, batches: Iterable[NDArray[Any]], counted: Collection[str]
) -> Statistics:
    """Extremes of every float value, and histograms of some, over all batches.

    Nothing of a batch is kept but the counts. Extremes are exact. Histograms count every value of a small
    tensor, and of a large one a systematic sample of at most 8192 values an input: every k-th value, k being
    coprime with the tensor's sides so that all channels, rows and columns take part alike (Cochran, "Sampling
    Techniques", chapter 8). Where it starts follows from a checksum of the input, so that the same inputs
    give the same counts in any order and in any batches.

    Args:
        model: a float32 model with one input.
        batches: inputs, the first axis being the batch. Small batches are as fast as large ones, and leaner.
        counted: names of the values that want a histogram, `sites.activations` for example.

    Raises:
        DataError: there are no inputs, or a value is NaN or Inf; the first such value of the graph is named.
        ModelError: a value to be counted is not a float value of the graph.
    """
    names = float_values(model)
    with Session(expose(model, names).SerializeToString()) as session, ThreadPoolExecutor(1) as worker:
        collector = _Collector((session.input_name, *names), counted)
        # One batch is counted while the next one runs: ONNX Runtime and numpy both let go of the interpreter.
        counting: Future[None] | None = None
        for batch in filter(len, batches):
            # A reader may fill the same array again, so the batch is copied.
            values = {session.input_name: batch.copy(), **session.run(batch)}
            if counting is not None:
                counting.result()
            counting = worker.submit(collector.add, values)
        if counting is None:
            raise DataError("There are no calibration samples.", wanted="at least one batch of real inputs")
        counting.result()
    return Statistics(collector.samples, collector.ranges, collector.histograms)


class _Collector:
    """Running statistics; values are looked at in the order of the graph, so NaN is named where it starts."""

    def __init__(self, names: tuple[str, ...], counted: Collection[str]) -> None:
        unknown = set(counted) - set(names)
        if unknown:
            raise ModelError(
                "Some values to be calibrated are not float values of the model.",
                got=", ".join(sorted(unknown)),
            )
        self._names = names  # the input first
        self._counted = frozenset(counted)
        self.samples = 0
        self.ranges: dict[str, Range] = {}
        self.histograms: dict[str, Histogram] = {}

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        batch = values[self._names[0]]
        checksums = (
            [zlib.crc32(np.ascontiguousarray(sample).data) for sample in batch] if self._counted else []
        )
        for name in filter(lambda name: values[name].size, self._names):
            found = _range_of(name, values[name])
            self.ranges[name] = found.union(self.ranges[name]) if name in self.ranges else found
            if name in self._counted:
                known = self.histograms.get(name, EMPTY)
                self.histograms[name] = known.including(
                    _sample(values[name], checksums), found.low, found.high
                )
        self.samples += len(batch)


def _range_of(name: str, values: NDArray[Any]) -> Range:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError(
            f"The value {name!r} is NaN or Inf on the calibration inputs.",
            todo="look at the inputs' preprocessing, and at the weights of the node that makes it",
        )
    return Range(low, high)


def _sample(values: NDArray[np.float32], checksums: list[int]) -> NDArray[np.float32]:
    """The values that are counted: at most `PER_SAMPLE` of each input's, evenly spread."""
    if values.ndim == 0 or len(values) != len(checksums):  # the batch is not its first axis
        values, checksums = values[None], checksums[:1]
    rows = values.reshape(len(values), -1)
    stride = _stride(values.shape[1:])
    if stride == 1:
        return rows.ravel()
    return np.concatenate([row[start % stride :: stride] for row, start in zip(rows, checksums, strict=True)])


def _stride(shape: tuple[int, ...]) -> int:
    """The smallest step that leaves at most `PER_SAMPLE` values and has no factor in common with a side."""
    size = int(np.prod(shape))
    stride = -(-size // PER_SAMPLE)
    while stride > 1 and gcd(stride, size) > 1:
        stride += 1
    return stride
