"""A model of which any one activation can be rounded to integers and back, as its extra inputs say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..onnx_graph.evaluate import Evaluator
from ..onnx_graph.graph import as_tensor
from ..onnx_graph.segments import Segment
from ..qdq.quantized_inputs import QuantizedInput

NO_ACTIVATION = -1
SWITCHES: dict[str, tuple[int, list[int] | None]] = {
    "activation": (TensorProto.INT64, []),
    "scale": (TensorProto.FLOAT, None),  # a scalar, or one a channel
    "lowest": (TensorProto.FLOAT, []),
    "highest": (TensorProto.FLOAT, []),
}


class FakeQuantSegment:
    """A segment with a switch before each of its sites.

    Args:
        segment: the stretch of the graph; its names are numbered from zero.
        sites: which inputs of which nodes are quantized; those of other segments are left alone.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """

    def __init__(self, segment: Segment, sites: Collection[QuantizedInput]) -> None:
        self._evaluator = Evaluator(_with_rounding(segment.model, sites, segment.names))
        self._input = segment.model.graph.input[0].name

    def run(
        self,
        batches: Iterable[NDArray[Any]],
        activation: int = NO_ACTIVATION,
        scale: float | NDArray[np.float32] = 1,
        lowest: float = 0,
        highest: float = 0,
    ) -> list[list[NDArray[Any]]]:
        """The segment's outputs for each batch, while one activation, or none, is rounded.

        Args:
            batches: values at the segment's start.
            activation: its number among the segment's names.
            scale: step from one integer to the next; a scalar, or one a channel.
            lowest: the smallest integer.
            highest: the largest integer.
        """
        scalars = {
            _scalar("activation"): np.array(activation, np.int64),
            _scalar("scale"): np.asarray(np.maximum(scale, np.finfo(np.float32).tiny), np.float32),
            _scalar("lowest"): np.array(lowest, np.float32),
            _scalar("highest"): np.array(highest, np.float32),
        }
        found = (self._evaluator.run({self._input: batch, **scalars}) for batch in batches)
        return [list(outputs.values()) for outputs in found]


def _with_rounding(
    model: onnx.ModelProto, sites: Collection[QuantizedInput], names: Sequence[str]
) -> onnx.ModelProto:
    """The model with a switch before every site; the sites of one activation share theirs."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    readers = {node.output[0]: node for node in graph.node}
    for site in sites:
        if site.axis is None and site.value in names:
            readers[site.node].input[site.position] = _rounded(site.value)
    rounding = {name: _switch(name) for name in names}
    for index, name in enumerate(names):
        graph.initializer.append(as_tensor(f"{_rounded(name)}.index", np.array(index, np.int64)))
    nodes = [node for info in graph.input for node in rounding.get(info.name, ())]
    for node in graph.node:
        nodes += [node, *(added for name in node.output for added in rounding.get(name, ()))]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
    graph.input.extend(
        helper.make_tensor_value_info(_scalar(name), kind, shape) for name, (kind, shape) in SWITCHES.items()
    )
    return rounded


def _switch(name: str) -> list[NodeProto]:
    """If the activation is the chosen one, its nearest multiples of the scale; else itself."""
    result = _rounded(name)
    on, kept = f"{result}.on", f"{result}.as_is"
    limits = (_scalar("scale"), _scalar("lowest"), _scalar("highest"))
    branches = {
        "then_branch": _branch(fake_quantize(name, f"{result}.steps", *limits)),
        "else_branch": _branch([helper.make_node("Identity", [name], [kept])]),
    }
    return [
        helper.make_node("Equal", [_scalar("activation"), f"{result}.index"], [on]),
        helper.make_node("If", [on], [result], **branches),
    ]


def fake_quantize(value: str, result: str, scale: str, lowest: str, highest: str) -> list[NodeProto]:
    """Nodes that round a value to whole steps within limits, ties to even, and keep it float.

    Args:
        value: name of the value.
        result: name of what it becomes.
        scale: name of the step from one integer to the next, float32; a scalar, or one a channel.
        lowest: name of the smallest integer, a float32 scalar.
        highest: name of the largest one.
    """
    divided, whole, clipped = (f"{result}.{part}" for part in ("divided", "whole", "clipped"))
    return [
        helper.make_node("Div", [value, scale], [divided]),
        helper.make_node("Round", [divided], [whole]),
        helper.make_node("Clip", [whole, lowest, highest], [clipped]),
        helper.make_node("Mul", [clipped, scale], [result]),
    ]


def _branch(nodes: list[NodeProto]) -> onnx.GraphProto:
    last = nodes[-1].output[0]
    output = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, f"make {last}", [], [output])


def _rounded(name: str) -> str:
    return f"{name}.rounded"


def _scalar(name: str) -> str:
    return f"edgeproof.rounding.{name}"
