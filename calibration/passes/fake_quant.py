"""A model of which one activation is rounded to integers and back, as its extra inputs say."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..onnx_graph.evaluate import Evaluator
from ..qdq.quantized_inputs import QuantizedInput

SCALE, LOWEST, HIGHEST = (f"edgeproof.rounding.{name}" for name in ("scale", "lowest", "highest"))


class FakeQuantGraph:
    """A graph with one of its activations rounded, at each place where it is quantized.

    Each activation has a graph of its own: ONNX Runtime fuses nothing across a switch.

    Args:
        model: a float graph with one input; its first output is computed.
        sites: which inputs of which nodes are quantized; those of other graphs are left alone.
        value: the activation, made in the graph or its input.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """

    def __init__(self, model: onnx.ModelProto, sites: Collection[QuantizedInput], value: str) -> None:
        self._evaluator = Evaluator(_with_rounding(model, sites, value))
        self._input = model.graph.input[0].name

    def run(
        self,
        batches: Iterable[NDArray[Any]],
        scale: float | NDArray[np.float32],
        lowest: float,
        highest: float,
    ) -> list[NDArray[Any]]:
        """The graph's first output for each batch, while the activation is rounded.

        Args:
            batches: values of the graph's input.
            scale: step from one integer to the next; a scalar, or one a channel.
            lowest: the smallest integer.
            highest: the largest integer.
        """
        limits = {
            SCALE: np.asarray(np.maximum(scale, np.finfo(np.float32).tiny), np.float32),
            LOWEST: np.array(lowest, np.float32),
            HIGHEST: np.array(highest, np.float32),
        }
        found = (self._evaluator.run({self._input: batch, **limits}) for batch in batches)
        return [values for outputs in found for values in outputs.values()]


def _with_rounding(model: onnx.ModelProto, sites: Collection[QuantizedInput], value: str) -> onnx.ModelProto:
    rounded, result = onnx.ModelProto(), f"{value}.rounded"
    rounded.CopyFrom(model)
    graph = rounded.graph
    readers = {node.output[0]: node for node in graph.node}
    for site in sites:
        if site.value == value and site.node in readers:
            readers[site.node].input[site.position] = result
    made = next((index for index, node in enumerate(graph.node, start=1) if value in node.output), 0)
    nodes = [*graph.node[:made], *fake_quantize(value, result, SCALE, LOWEST, HIGHEST), *graph.node[made:]]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
    del graph.output[1:]
    graph.input.append(helper.make_tensor_value_info(SCALE, TensorProto.FLOAT, None))  # or one a channel
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in (LOWEST, HIGHEST)
    )
    return rounded


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
