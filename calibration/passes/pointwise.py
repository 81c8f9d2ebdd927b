"""Constants that are applied to an activation's output, a channel at a time, before layers read it.

Behind a hard-swish, a SiLU or a gate nothing can move into the convolution before. A multiplication or a
subtraction of its own is one more operand for the kernel that computes the activation in TensorRT anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ..onnx_graph.graph import array_of, as_tensor, initializers

ACTIVATIONS = (
    *("HardSwish", "HardSigmoid", "Sigmoid", "Swish", "Mish", "Gelu", "Elu", "Selu", "Celu", "Softplus"),
    *("Tanh", "Mul"),  # the last is a SiLU's or a gate's
)


NEUTRAL = {"Mul": 1.0, "Sub": 0.0}
SUFFIX = {"Mul": ".scaled", "Sub": ".moved"}


def apply_constants(
    model: onnx.ModelProto, operator: str, constants: Mapping[str, NDArray[np.float32]]
) -> onnx.ModelProto:
    """The model in which all who read some values read the result of an operator on them instead.

    Args:
        model: a float32 model.
        operator: "Mul" or "Sub".
        constants: the second operand by the value's name.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph, suffix = changed.graph, SUFFIX[operator]
    nodes: list[NodeProto] = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in constants:
                node.input[position] = name + suffix
        nodes.append(node)
        for value in [value for value in node.output if value in constants]:
            result = value + suffix
            constant = as_tensor(f"{result}.by", constants[value])
            graph.initializer.append(constant)
            nodes.append(helper.make_node(operator, [value, constant.name], [result], name=result))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(copies)
    return changed


def applied(node: NodeProto) -> bool:
    """Whether `apply_constants` made the node."""
    return node.op_type in SUFFIX and node.output[0] == f"{node.input[0]}{SUFFIX[node.op_type]}"


def without_neutral_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what `apply_constants` added and what is still a factor of one, or nothing less."""
    weights = initializers(model)
    idle = {
        node.output[0]: node
        for node in model.graph.node
        if applied(node) and np.all(array_of(weights[node.input[1]]) == NEUTRAL[node.op_type])
    }
    if not idle:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for node in [node for node in graph.node if node.output[0] in idle]:
        graph.node.remove(node)
    for node in graph.node:
        for position, name in enumerate(node.input):
            while name in idle:
                name = idle[name].input[0]
            node.input[position] = name
    unused = {node.input[1] for node in idle.values()}
    for tensor in [tensor for tensor in graph.initializer if tensor.name in unused]:
        graph.initializer.remove(tensor)
    return changed
