"""How the error of another form of a model grows on the way to its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.session.session import Session
from .graph import LAYERS, describe, element_types, expose, makers

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class DepthError:
    """The error of one value inside the model.

    Attributes:
        value: its name.
        node: operator, name and PyTorch module of the node that makes it.
        relative: norm of what the other form's value does not tell of it over norm of its signal, 0..1.
    """

    value: str
    node: str
    relative: float


def errors_by_depth(
    model: onnx.ModelProto, other: onnx.ModelProto, samples: NDArray[Any]
) -> list[DepthError]:
    """The error of each layer's output that both forms name, in the order of the graph.

    A form may scale and move a channel on purpose, and undo it later. So each channel of the reference is
    compared with the line through the other's that fits it best, and the error is what that leaves:
    the square root of 1 - R^2, over all channels.

    Args:
        model: the trusted form.
        other: another form, which takes the same input.
        samples: inputs, shape (N, ...).
    """
    first, second = float_layers(model), float_layers(other)
    names = matched(first, second)
    with _opened(model, names) as trusted, _opened(other, names) as tried:
        each = (samples[i : i + 1] for i in range(len(samples)))
        pairs = ((trusted.run(sample), tried.run(sample)) for sample in each)
        errors = unexplained(names, pairs)
    return [DepthError(name, first.values[name], error) for name, error in zip(names, errors, strict=True)]


@dataclass(frozen=True)
class FloatValues:
    """What of a graph can be compared with another form's.

    Attributes:
        values: all float values by name, in the order of the graph, with the node that makes each.
        layers: names of those that layers with weights make, and of the outputs.
    """

    values: Mapping[str, str]
    layers: frozenset[str]


def float_layers(model: onnx.ModelProto) -> FloatValues:
    """The float values of a model."""
    types, ends = element_types(model), {output.name for output in model.graph.output}
    made = {name: node for name, node in makers(model).items() if types.get(name) in FLOATS}
    layers = {name for name, node in made.items() if node.op_type in LAYERS or name in ends}
    return FloatValues({name: describe(node) for name, node in made.items()}, frozenset(layers))


def matched(first: FloatValues, second: FloatValues) -> list[str]:
    """Values that both forms name and that are a layer's in one of them, in the order of the first.

    A layer may be named after what follows it, such as a batch norm that was folded into it.
    """
    layers = first.layers | second.layers
    return [name for name in first.values if name in layers and name in second.values]


def unexplained(
    names: Sequence[str], pairs: Iterable[tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]]
) -> list[float]:
    """The error of each named value, as `errors_by_depth` measures it.

    Args:
        names: of the values.
        pairs: for each sample, both forms' values by name, each of shape (1, ...). Values of different sizes
            are no form of each other: their error is 1.
    """
    sums = {name: _Sums() for name in names}
    for wanted, got in pairs:
        for name in names:
            sums[name].add(wanted[name], got[name])
    return [sums[name].unexplained() for name in names]


class _Sums:
    """Moments of pairs of values, a channel each, summed up over samples."""

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] | None = None
        self._differ = False

    def add(self, wanted: NDArray[Any], got: NDArray[Any]) -> None:
        """Count one sample's values, shape (1, channels, ...)."""
        if wanted.shape != got.shape:
            self._differ = True
            return
        x, y = _channels(got), _channels(wanted)
        count = np.full(len(x), x.shape[1], np.float64)
        sums = np.stack([count, x.sum(1), y.sum(1), (x * x).sum(1), (x * y).sum(1), (y * y).sum(1)])
        self._sums = sums if self._sums is None else self._sums + sums

    def unexplained(self) -> float:
        """Share of the reference's norm, less each channel's mean, that no line explains; 1 for NaN."""
        if self._sums is None or self._differ:
            return float(self._differ)
        count, x, y, xx, xy, yy = self._sums
        spread, covered, power = xx - x * x / count, xy - x * y / count, yy - y * y / count
        explained = np.divide(covered**2, spread, out=np.zeros_like(spread), where=spread > 0)
        whole = float(power.sum())
        if not np.isfinite(whole + float(explained.sum())):
            return 1.0
        return float(np.sqrt(max(0.0, whole - float(explained.sum())) / whole)) if whole > 0 else 0.0


def _channels(values: NDArray[Any]) -> NDArray[np.float64]:
    first = values[0].astype(np.float64)
    return first.reshape(len(first), -1) if first.ndim > 1 else first.reshape(1, -1)


def _opened(model: onnx.ModelProto, names: Iterable[str]) -> Session:
    return Session(expose(model, names).SerializeToString(), optimize=False)
