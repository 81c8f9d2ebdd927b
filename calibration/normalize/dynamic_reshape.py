"""Reshapes of a model of fixed batch, written so that they keep whatever batch comes.

Recovery and the ranking of layers show all their inputs as one batch. A shape that names the model's own
batch stands in the way of that; a zero in its place means the same there, and any other batch elsewhere.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..onnx_graph.graph import array_of, as_tensor, initializers
from ..onnx_graph.shapes import recorded_shapes


def keep_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, in which no Reshape from batch to batch says how large it is.

    Args:
        model: normalized, so that shapes are initializers and those of values are known.
    """
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    weights, known = initializers(model), recorded_shapes(model)
    for node in kept.graph.node:
        if node.op_type != "Reshape" or node.attribute or node.input[1] not in weights:
            continue
        shape = array_of(weights[node.input[1]])
        if len(shape) and shape[0] > 0 and known.get(node.input[0], ())[:1] == (shape[0],):
            node.input[1] = f"{node.output[0]}.shape"
            kept.graph.initializer.append(as_tensor(node.input[1], np.array([0, *shape[1:]], np.int64)))
    read = {name for node in kept.graph.node for name in node.input}
    for tensor in [tensor for tensor in kept.graph.initializer if tensor.name not in read]:
        kept.graph.initializer.remove(tensor)
    return kept
