"""How the error of another form of a model grows on the way to its outputs."""

from __future__ import annotations

from collections.abc import Iterable
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
    names = _shared(model, other)
    sums = {name: _Sums() for name in names}
    with _opened(model, names) as first, _opened(other, names) as second:
        for position in range(len(samples)):
            wanted, got = (session.run(samples[position : position + 1]) for session in (first, second))
            for name in names:
                sums[name].add(wanted[name], got[name])
    made_by = makers(model)
    return [DepthError(name, describe(made_by[name]), sums[name].unexplained()) for name in names]


class _Sums:
    """Moments of pairs of values, a channel each, summed up over samples."""

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] | None = None

    def add(self, wanted: NDArray[Any], got: NDArray[Any]) -> None:
        """Count one sample's values, shape (1, channels, ...)."""
        x, y = _channels(got), _channels(wanted)
        count = np.full(len(x), x.shape[1], np.float64)
        sums = np.stack([count, x.sum(1), y.sum(1), (x * x).sum(1), (x * y).sum(1), (y * y).sum(1)])
        self._sums = sums if self._sums is None else self._sums + sums

    def unexplained(self) -> float:
        """Share of the reference's norm, less each channel's mean, that no line explains."""
        if self._sums is None:
            return 0.0
        count, x, y, xx, xy, yy = self._sums
        spread, covered, power = xx - x * x / count, xy - x * y / count, yy - y * y / count
        explained = np.divide(covered**2, spread, out=np.zeros_like(spread), where=spread > 0)
        whole = float(power.sum())
        return float(np.sqrt(max(0.0, whole - float(explained.sum())) / whole)) if whole > 0 else 0.0


def _channels(values: NDArray[Any]) -> NDArray[np.float64]:
    first = values[0].astype(np.float64)
    return first.reshape(len(first), -1) if first.ndim > 1 else first.reshape(1, -1)


def _shared(model: onnx.ModelProto, other: onnx.ModelProto) -> list[str]:
    """Outputs of layers, and of the model, that are float in both forms."""
    ends = {output.name for output in model.graph.output}
    made = [n for node in model.graph.node for n in node.output if node.op_type in LAYERS or n in ends]
    first, second = element_types(model), element_types(other)
    return [name for name in made if first.get(name) in FLOATS and second.get(name) in FLOATS]


def _opened(model: onnx.ModelProto, names: Iterable[str]) -> Session:
    return Session(expose(model, names).SerializeToString(), optimize=False)
