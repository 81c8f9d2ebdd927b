"""What one pass through a graph costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx

from .shapes import shapes_for


@dataclass(frozen=True)
class LayerCost:
    """What a layer takes for one input.

    Attributes:
        multiply_adds: of its convolution or matrix product.
        elements: that it reads and writes, its weights among them: bytes in INT8, half of those in FP16.
    """

    multiply_adds: int
    elements: int


def layer_costs(model: onnx.ModelProto, layers: Iterable[str], sides: Sequence[int]) -> dict[str, LayerCost]:
    """What layers take, as far as shapes can be inferred.

    Args:
        model: a float model with one input.
        layers: their first outputs.
        sides: of one input, without the batch.
    """
    shapes = _sizes(model, (1, *sides))
    nodes = {node.output[0]: node for node in model.graph.node}
    return {layer: _cost(nodes[layer], shapes) for layer in layers}


def multiply_adds(model: onnx.ModelProto, shape: Sequence[int]) -> int:
    """Multiply-adds of the convolutions and matrix products, as far as shapes can be inferred.

    Args:
        model: a float model with one input.
        shape: of that input, the batch first.
    """
    shapes = _sizes(model, shape)
    return sum(_multiply_adds(node, shapes) for node in model.graph.node)


def _sizes(model: onnx.ModelProto, shape: Sequence[int]) -> dict[str, list[int]]:
    """Shapes in which a side that is not known counts nothing."""
    return {
        name: [side if isinstance(side, int) else 0 for side in sides]
        for name, sides in shapes_for(model, shape).items()
    }


def _cost(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> LayerCost:
    moved = sum(prod(shapes.get(name, [0])) for name in (*node.input, *node.output) if name)
    return LayerCost(_multiply_adds(node, shapes), moved)


def _multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    made = shapes.get(node.output[0], [0])
    if node.op_type == "Conv":
        return prod(made) * prod(shapes.get(node.input[1], [0, 0])[1:])
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return prod(made) * shapes.get(node.input[0], [0, 0])[0 if transposed else 1]
    if node.op_type == "MatMul":
        return prod(made) * shapes.get(node.input[0], [0])[-1]
    return 0
