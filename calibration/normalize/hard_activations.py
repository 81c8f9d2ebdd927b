"""Hard-swish and hard-sigmoid that an exporter took to pieces, written as the one operator that they are.

Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244): hard-sigmoid is clip(x / 6 + 1 / 2, 0, 1), and
hard-swish is x times that. Older opsets have no operator for the latter, and Paddle and others write both as
Add, Clip, Mul and Div. In one piece each is one layer for TensorRT, and fewer values are rounded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto, TensorProto, helper

from ..onnx_graph.graph import array_of, initializers, makers, reader_counts

TOLERANCE = 1e-6  # of a constant: some units in the last place of float32
FIRST_HARD_SWISH = 14  # opset


@dataclass(frozen=True)
class _Line:
    """scale · source + shift, with a number for both."""

    source: str
    scale: float
    shift: float


def join_hard_activations(model: onnx.ModelProto) -> None:
    """Write each such group of nodes as one HardSigmoid or HardSwish, in place; other groups are left alone.

    Args:
        model: opset 14 or later, its constants as initializers.
    """
    graph = _Graph(model)
    replaced: dict[str, NodeProto] = {}
    for clip in model.graph.node:
        if clip.op_type == "Clip" and (found := graph.joined(clip)) is not None:
            replaced[found.output[0]] = found
    nodes = [
        NodeProto.FromString(replaced.get(node.output[0], node).SerializeToString())
        for node in model.graph.node
    ]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)  # what nobody reads any more is dropped with the unused


class _Graph:
    """What is looked up while groups are searched."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._weights: Mapping[str, TensorProto] = initializers(model)
        self._makers = makers(model)
        self._readers: Counter[str] = Counter(reader_counts(model))
        self._read_by: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._read_by.setdefault(name, []).append(node)

    def joined(self, clip: NodeProto) -> NodeProto | None:
        """The one node that a Clip and what stands around it are, with the output of the last of them."""
        limits = [self._number(name) for name in (*clip.input[1:], "", "")[:2]]
        if limits[0] is None or limits[1] is None:
            return None
        line = self._line(clip.input[0])
        last, scale, swish = clip, 1.0, False
        while (reader := self._only_reader(last.output[0])) is not None:
            factor = self._factor(reader, last.output[0])
            if factor is not None:
                scale *= factor
            elif not swish and reader.op_type == "Mul" and line.source in reader.input:
                swish = True
            else:
                break
            last = reader
        ends = scale * limits[0], scale * limits[1]
        if last is clip or not (_same(ends[0], 0) and _same(ends[1], 1)):
            return None
        alpha, beta = scale * line.scale, scale * line.shift
        name, output = last.name or clip.name, [last.output[0]]
        if not swish:
            return helper.make_node("HardSigmoid", [line.source], output, name=name, alpha=alpha, beta=beta)
        if _same(alpha, 1 / 6) and _same(beta, 0.5):
            return helper.make_node("HardSwish", [line.source], output, name=name)
        return None

    def _line(self, value: str) -> _Line:
        """A value as a straight line of the first one before it that is none."""
        line = _Line(value, 1.0, 0.0)
        while (node := self._makers.get(line.source)) is not None and self._readers[line.source] == 1:
            numbers = [self._number(name) for name in node.input]
            if len(numbers) != 2 or (numbers[0] is None) == (numbers[1] is None):
                break
            first = numbers[0] is None
            number = numbers[1] if first else numbers[0]
            source = node.input[0] if first else node.input[1]
            if number is None:
                break
            if node.op_type == "Add":
                line = _Line(source, line.scale, line.shift + line.scale * number)
            elif node.op_type == "Sub" and first:
                line = _Line(source, line.scale, line.shift - line.scale * number)
            elif node.op_type == "Mul":
                line = _Line(source, line.scale * number, line.shift)
            elif node.op_type == "Div" and first and number:
                line = _Line(source, line.scale / number, line.shift)
            else:
                break
        return line

    def _factor(self, node: NodeProto, value: str) -> float | None:
        """By which a node multiplies a value; None where it does something else."""
        if node.op_type not in ("Mul", "Div") or list(node.input).count(value) != 1:
            return None
        first = node.input[0] == value
        number = self._number(node.input[1] if first else node.input[0])
        if number is None or (node.op_type == "Div" and (not first or not number)):
            return None
        return number if node.op_type == "Mul" else 1 / number

    def _only_reader(self, value: str) -> NodeProto | None:
        return self._read_by[value][0] if self._readers[value] == 1 and value in self._read_by else None

    def _number(self, name: str) -> float | None:
        """A constant with one element."""
        tensor = self._weights.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) != 1:
            return None
        return float(array_of(tensor).ravel()[0])


def _same(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= TOLERANCE * max(1.0, abs(wanted))
