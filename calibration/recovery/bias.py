"""Bias correction: what INT8 adds to a channel's mean is taken off its bias.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), in
its empirical form: the means are measured on calibration inputs, layer after layer, so that each layer is
corrected for what the layers before it, already corrected, hand on. Of the samples' means the median counts:
one input whose values are cut off must not move the answers to all others.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto
from torch import Tensor

from .simulate import QuantizedGraph


class BiasCorrection:
    """Corrects the biases of a simulated INT8 graph while it runs.

    Args:
        model: the float32 graph.
        student: the simulation of its INT8 form, changed in place.
    """

    def __init__(self, model: onnx.ModelProto, student: QuantizedGraph) -> None:
        self._student = student
        self._biased = {
            node.output[0]: node.input[2]
            for node in model.graph.node
            if len(node.input) > 2 and node.input[2] in student.biases
        }
        self._means: dict[str, Tensor] = {}

    def measure(self, node: NodeProto, value: Tensor) -> Tensor:
        """Note the means of the float graph; for its run, after each node."""
        if node.output[0] in self._biased:
            self._means[node.output[0]] = _channel_means(value)
        return value

    def correct(self, node: NodeProto, value: Tensor) -> Tensor:
        """The value of the INT8 graph with the float graph's means; for its run, after each node."""
        name = self._biased.get(node.output[0])
        if name is None:
            return value
        missing = (self._means[node.output[0]] - _channel_means(value)).median(dim=0).values
        self._student.biases[name] += missing
        return value + missing.reshape([1, -1] + [1] * (value.ndim - 2))


def _channel_means(value: Tensor) -> Tensor:
    """Mean over all but the first two axes, shape (N, C)."""
    return value.flatten(2).mean(dim=2) if value.ndim > 2 else value
