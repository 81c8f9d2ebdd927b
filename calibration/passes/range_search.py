"""The range of each tensor by what it does to the network's output."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.errors import ModelError
from ..onnx_graph.evaluate import Evaluator
from ..onnx_graph.graph import opset
from ..onnx_graph.segments import segments
from ..onnx_graph.shapes import input_of
from ..qdq.quantized_inputs import QuantizedInput, activations
from ..ranges.histogram import Histogram
from ..ranges.integer_format import IntegerFormat
from ..ranges.methods import METHODS
from ..ranges.statistics import Range
from .fake_quant import FakeQuantGraph

RANGE_TOLERANCE = 0.02  # ranges whose ends differ by less give the same output but for chance
FIRST_OPSET = 13
ELEMENTS_AT_ONCE, MOST_AT_ONCE = 3 * 224 * 224, 16  # of inputs: what suits a processor's cache


@dataclass(frozen=True)
class Choice:
    """What became of one tensor's candidates.

    Attributes:
        value: name of the tensor.
        method: the method whose range is kept.
        range: that range.
        errors: for each method, the power of the output's error over the power of the output when this
            tensor alone is quantized.
    """

    value: str
    method: str
    range: Range
    errors: Mapping[str, float]


@dataclass(frozen=True)
class Candidate:
    """A way to round one tensor.

    Attributes:
        range: of the tensor as it is written.
        scale: step from one integer to the next; a scalar, or one a channel, to be divided by.
        lowest: the smallest integer, counted from the one of zero.
        highest: the largest.
    """

    range: Range
    scale: NDArray[np.float32]
    lowest: float
    highest: float


def candidates(histogram: Histogram, format_: IntegerFormat) -> dict[str, Candidate]:
    """The ranges of max, percentile, entropy and mse for a tensor."""
    return {method: _candidate(find(histogram, format_), format_) for method, find in METHODS.items()}


def choose_ranges(
    model: onnx.ModelProto,
    sites: Collection[QuantizedInput],
    options: Mapping[str, Mapping[str, Candidate]],
    samples: NDArray[Any],
) -> Iterator[Choice]:
    """For each activation the candidate that disturbs the output least.

    One tensor at a time is quantized while all else stays float, as Wu et al. judge layers in "Integer
    Quantization for Deep Learning Inference" (arXiv 2004.09602). A candidate costs one pass of the samples
    through what comes after the tensor, and candidates that nearly coincide are measured once.

    Args:
        model: a float32 model, opset 13 or later, without control flow.
        sites: which inputs of which nodes are quantized; weights among them stay float here.
        options: the candidates of each activation among the sites, by name.
        samples: a few calibration inputs, shape (N, ...).

    Yields:
        One choice for each activation, in the order of the graph.

    Raises:
        ModelError: the opset is too old, or ONNX Runtime does not accept the model.
    """
    if opset(model) < FIRST_OPSET:
        raise ModelError(
            "The model's opset is too old to simulate integers in it.",
            wanted=f"opset {FIRST_OPSET} or later",
            got=f"opset {opset(model)}",
        )
    batches = _batches(model, samples)
    for segment in segments(model, activations(sites)):
        float_ = Evaluator(segment.model)
        found = [list(float_.run({segment.model.graph.input[0].name: batch}).values()) for batch in batches]
        reference = _joined([outputs[0] for outputs in found])
        for name in segment.names:
            rounding = FakeQuantGraph(segment.model, sites, name)
            errors = _errors(rounding, batches, options[name], reference)
            best = min(errors, key=errors.__getitem__)
            yield Choice(name, best, options[name][best].range, errors)
        batches = [outputs[1] for outputs in found] if segment.following else []


def _errors(
    rounding: FakeQuantGraph,
    batches: Sequence[NDArray[Any]],
    options: Mapping[str, Candidate],
    reference: NDArray[np.float64],
) -> dict[str, float]:
    errors: dict[str, float] = {}
    for name, option in options.items():
        twin = next((other for other in errors if _alike(options[other], option)), None)
        if twin:
            errors[name] = errors[twin]
        else:
            rounded = rounding.run(batches, option.scale, option.lowest, option.highest)
            errors[name] = _error(reference, _joined(rounded))
    return errors


def _batches(model: onnx.ModelProto, samples: NDArray[Any]) -> list[NDArray[Any]]:
    """Some samples at a time, fewer of large ones; a fixed batch is filled from the front."""
    first = input_of(model).shape[0]
    if isinstance(first, int):
        starts = range(0, len(samples), first)
        return [samples[np.arange(start, start + first) % len(samples)] for start in starts]
    size = max(1, min(MOST_AT_ONCE, ELEMENTS_AT_ONCE // samples[0].size))
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _joined(found: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.concatenate(found).astype(np.float64)


def _candidate(chosen: Range, format_: IntegerFormat) -> Candidate:
    scale, zero = format_.parameters(np.array(chosen.low), np.array(chosen.high))
    lowest, highest = float(format_.lowest - zero), float(format_.highest - zero)
    return Candidate(chosen, np.asarray(scale, np.float32), lowest, highest)


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether both ends of both ranges nearly coincide."""
    width = np.maximum(one.scale * (one.highest - one.lowest), other.scale * (other.highest - other.lowest))
    lows = np.abs(one.scale * one.lowest - other.scale * other.lowest)
    highs = np.abs(one.scale * one.highest - other.scale * other.highest)
    return bool(np.all(np.maximum(lows, highs) <= RANGE_TOLERANCE * width / 2))


def _error(reference: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    power = float(np.sum(reference**2))
    error = float(np.sum((outputs - reference) ** 2))
    if error == 0:
        return 0.0
    return error / power if power > 0 and math.isfinite(error) else math.inf
