"""Bias correction: what INT8 adds to a channel's mean is taken off its bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), in
its empirical form: the means are measured on calibration inputs, layer after layer, so that each layer is
corrected for what the layers before it, already corrected, hand on. Of the samples' means the median counts:
one input whose values are cut off must not move the answers to all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ..onnx_graph.graph import as_tensor
from ..onnx_graph.segments import between
from .activations import Activations

Means = NDArray[np.float32]


def channel_means(
    model: onnx.ModelProto, activations: Activations, values: Sequence[str]
) -> Mapping[str, Means]:
    """Mean of each channel (axis 1) of some values for each input, shape (N, C), by value.

    Args:
        model: the graph.
        activations: what is known of its values.
        values: each of shape (N, C) or (N, C, sides...).
    """
    if not values:
        return {}
    part = between(model, activations.names, values)
    del part.graph.output[:]
    part.graph.initializer.append(as_tensor("channels.shape", np.array([0, 0, -1])))
    for name in values:
        flat, mean = f"{name}.channels", f"{name}.mean"
        part.graph.node.append(helper.make_node("Reshape", [name, "channels.shape"], [flat]))
        part.graph.node.append(helper.make_node("GlobalAveragePool", [flat], [mean]))
        part.graph.output.append(helper.make_tensor_value_info(mean, TensorProto.FLOAT, None))
    batches = zip(*activations.compute(part), strict=True)
    return {name: np.concatenate(found)[..., 0] for name, found in zip(values, batches, strict=True)}


def missing_mean(wanted: Means, found: Means) -> NDArray[np.float32]:
    """What a bias lacks, shape (C,): of the samples' differences the middle one, the lower of two."""
    return np.quantile(wanted - found, 0.5, axis=0, method="lower")
