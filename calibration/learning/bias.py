"""Bias correction: what INT8 adds to a channel's mean is taken off its bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), in
its empirical form: the means are measured on calibration inputs, layer after layer, so that each layer is
corrected for what the layers before it, already corrected, hand on.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from .network import TorchGraph
from .simulate import QuantizedGraph


def correct_biases(
    model: onnx.ModelProto, student: QuantizedGraph, samples: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Correct the biases of `student` in place, and return what was added, by initializer.

    Args:
        model: the float32 graph, whose means are right.
        student: the simulation of its INT8 form.
        samples: calibration inputs, shape (N, ...), shown as one batch.
    """
    biased = {node.output[0]: node.input[2] for node in model.graph.node if _bias(node) in student.biases}
    means: dict[str, Tensor] = {}
    added: dict[str, NDArray[np.float32]] = {}

    def measure(node: NodeProto, value: Tensor) -> Tensor:
        if node.output[0] in biased:
            means[node.output[0]] = _channel_means(value)
        return value

    def correct(node: NodeProto, value: Tensor) -> Tensor:
        name = biased.get(node.output[0])
        if name is None:
            return value
        missing = means[node.output[0]] - _channel_means(value)
        student.biases[name] += missing
        added[name] = missing.numpy()
        return value + missing.reshape([1, -1] + [1] * (value.ndim - 2))

    with torch.no_grad():
        batch = torch.from_numpy(samples)
        teacher = TorchGraph(model)
        teacher.run(batch, teacher.outputs, after=measure)
        student.run(batch, teacher.outputs, after=correct)
    return added


def _bias(node: NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _channel_means(value: Tensor) -> Tensor:
    """Mean over all but axis 1, shape (C,)."""
    return value.mean(dim=[axis for axis in range(value.ndim) if axis != 1])
