"""What one pass through a graph costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import onnx

from .shapes import shapes_for


def multiply_adds(model: onnx.ModelProto, shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and matrix products, as far as shapes can be inferred.

    Args:
        model: a float model with one input.
        shape: of that input, the batch first.
    """
    shapes = {
        name: [side if isinstance(side, int) else 0 for side in sides]
        for name, sides in shapes_for(model, shape).items()
    }
    return sum(_of_node(node, shapes) for node in model.graph.node)


def _of_node(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    made = shapes.get(node.output[0], [0])
    if node.op_type == "Conv":
        return prod(made) * prod(shapes.get(node.input[1], [0, 0])[1:])
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(made) * shapes.get(node.input[0], [0, 0])[0 if transposed else 1]
    if node.op_type == "MatMul":
        return prod(made) * shapes.get(node.input[0], [0])[-1]
    return 0
