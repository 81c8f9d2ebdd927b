"""Squeeze-and-excitation gates, known by their form.

Hu et al., "Squeeze-and-Excitation Networks" (arXiv 1709.01507): a value is pooled over its sides, a few small
layers make a factor for each channel of that, and the value is multiplied with these factors. How the layers'
activations are written, in one node or in several, and whether the pooled value is reshaped on the way, says
nothing of what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from ..onnx_graph.graph import array_of, initializers, makers

LAYERS = {"Conv", "Gemm", "MatMul"}
ELEMENTWISE = {
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Clip", "Tanh", "Softplus", "Mish", "Swish"),
    *("HardSwish", "HardSigmoid", "Sigmoid", "Erf", "Add", "Sub", "Mul", "Div", "Min", "Max"),
    *("BatchNormalization", "Identity", "Dropout", "Cast"),
}
RESHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand"}
INSIDE = LAYERS | ELEMENTWISE | RESHAPING


@dataclass(frozen=True)
class Gate:
    """One gate.

    Attributes:
        value: what is pooled, and multiplied.
        pool: the node that pools it.
        inner: the nodes between, in no order: the layers, their activations, and what reshapes.
        mul: the node that multiplies; `position` is that of the value among its inputs.
        position: 0 or 1.
    """

    value: str
    pool: NodeProto
    inner: tuple[NodeProto, ...]
    mul: NodeProto
    position: int


def find_gates(model: onnx.ModelProto) -> list[Gate]:
    """The gates of a network, in the order of the graph."""
    weights, made_by = initializers(model), makers(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "Mul" or len(node.input) != 2:
            continue
        for position in (0, 1):
            value, factors = node.input[position], node.input[1 - position]
            gate = _between(value, factors, made_by, weights)
            if gate is not None:
                found.append(Gate(value, gate[0], gate[1], node, position))
                break
    return found


def _between(
    value: str, factors: str, made_by: Mapping[str, NodeProto], weights: Mapping[str, TensorProto]
) -> tuple[NodeProto, tuple[NodeProto, ...]] | None:
    """The one pool of the value from which the factors are computed, and the nodes that do; else None."""
    pools: dict[str, NodeProto] = {}
    inner: dict[str, NodeProto] = {}
    todo = [factors]
    while todo:
        name = todo.pop()
        if not name or name in weights or name in inner or name in pools:
            continue
        node = made_by.get(name)
        if node is None:
            return None
        if _is_pool_of(node, value, weights):
            pools[name] = node
        elif node.op_type in INSIDE or (node.op_type == "Constant" and not node.input):
            inner[name] = node
            todo += node.input[:1] if node.op_type in RESHAPING else node.input  # not the shape's way
        else:
            return None
    nodes = tuple(node for node in inner.values() if node.op_type != "Constant")
    if len(pools) != 1 or not any(node.op_type in LAYERS for node in nodes):
        return None
    return next(iter(pools.values())), nodes


def _is_pool_of(node: NodeProto, value: str, weights: Mapping[str, TensorProto]) -> bool:
    if not node.input or node.input[0] != value:
        return False
    return node.op_type == "GlobalAveragePool" or (
        node.op_type == "ReduceMean" and _are_sides(_axes(node, weights))
    )


def _axes(node: NodeProto, weights: Mapping[str, TensorProto]) -> list[int]:
    if len(node.input) > 1:
        tensor = weights.get(node.input[1])
        return [] if tensor is None else [int(axis) for axis in np.ravel(array_of(tensor))]
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == "axes"), [])


def _are_sides(axes: list[int]) -> bool:
    """Whether the axes are all sides of N x C x sides, counted from the front or from the back."""
    count = len(axes)
    return count > 0 and sorted(axes) in ([*range(2, 2 + count)], [*range(-count, 0)])
