"""What one pass through a graph costs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx

from .graph import initializers


def multiply_adds(model: onnx.ModelProto, shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and matrix products, as far as shapes can be inferred.

    Args:
        model: a float model with one input.
        shape: of that input, the batch first.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    _set_shape(sized.graph.input[0], shape)
    del sized.graph.value_info[:]
    for output in sized.graph.output:
        output.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(sized).graph
    shapes = {
        info.name: [side.dim_value for side in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.value_info, *graph.output)
        if info.type.tensor_type.HasField("shape")
    }
    shapes |= {name: list(tensor.dims) for name, tensor in initializers(model).items()}
    return sum(_of_node(node, shapes) for node in graph.node)


def _set_shape(info: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    sides = info.type.tensor_type.shape
    del sides.dim[:]
    for side in shape:
        sides.dim.add().dim_value = side


def _of_node(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    made = shapes.get(node.output[0], [0])
    if node.op_type == "Conv":
        return prod(made) * prod(shapes.get(node.input[1], [0, 0])[1:])
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(made) * shapes.get(node.input[0], [0, 0])[0 if transposed else 1]
    if node.op_type == "MatMul":
        return prod(made) * shapes.get(node.input[0], [0])[-1]
    return 0
