"""A factor a channel in front of depthwise convolutions that no other equalization reaches.

One step size for the whole tensor is far too coarse for a channel that is a hundred times smaller than the
largest. Behind a ReLU the channels' scale moves into the convolution before; behind a hard-swish, a SiLU or a
gate it is a multiplication of its own. Here it is written as a factor of one a channel, which `equalize` then
fills in as it scales any other layer. What stays one is taken out again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import NodeProto

from ..onnx_graph.graph import initializers, makers, reader_counts
from .cross_layer_equalization import find_pairs, is_depthwise
from .pointwise import ACTIVATIONS, apply_constants


def with_channel_factors(model: onnx.ModelProto) -> onnx.ModelProto:
    """Multiply by one before each such convolution, a factor a channel.

    Args:
        model: a float32 model.

    Returns:
        A model that computes the same; the model itself where there is no such convolution.
    """
    weights = initializers(model)
    ones = {}
    for node in _layers(model):
        channels, _, *kernel = weights[node.input[1]].dims
        ones[node.input[0]] = np.ones((channels, *[1] * len(kernel)), np.float32)
    return apply_constants(model, "Mul", ones) if ones else model


def _layers(model: onnx.ModelProto) -> Iterator[NodeProto]:
    """Depthwise convolutions that alone read an activation's output, and are in no pair."""
    weights, made_by, readers = initializers(model), makers(model), reader_counts(model)
    paired = {pair.value for pair in find_pairs(model)}
    for node in model.graph.node:
        if not is_depthwise(node, weights) or node.input[0] in paired:
            continue
        maker = made_by.get(node.input[0])
        alone = readers[node.input[0]] == 1 and readers[node.input[1]] == 1
        if alone and maker is not None and maker.op_type in ACTIVATIONS:
            yield node
