"""Reshapes of a model of fixed batch, written so that they keep whatever batch comes.

Recovery and the ranking of layers show all their inputs as one batch. A shape that names the model's own
batch stands in the way of that; a zero in its place means the same there, and any other batch elsewhere.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..onnx_graph.graph import array_of, as_tensor, initializers


def keep_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, in which no Reshape from batch to batch says how large it is.

    Args:
        model: normalized, so that shapes are initializers and those of values are known.
    """
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    weights, firsts = initializers(model), _first_sides(model)
    for node in kept.graph.node:
        if node.op_type != "Reshape" or node.attribute or node.input[1] not in weights:
            continue
        shape = array_of(weights[node.input[1]])
        if len(shape) and shape[0] > 0 and shape[0] == firsts.get(node.input[0]):
            node.input[1] = f"{node.output[0]}.shape"
            kept.graph.initializer.append(as_tensor(node.input[1], np.array([0, *shape[1:]], np.int64)))
    read = {name for node in kept.graph.node for name in node.input}
    for tensor in [tensor for tensor in kept.graph.initializer if tensor.name not in read]:
        kept.graph.initializer.remove(tensor)
    return kept


def _first_sides(model: onnx.ModelProto) -> dict[str, int]:
    """The first side of each value of which it is known."""
    return {
        info.name: info.type.tensor_type.shape.dim[0].dim_value
        for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if info.type.tensor_type.shape.dim and info.type.tensor_type.shape.dim[0].HasField("dim_value")
    }
