"""What each layer costs in INT8: the error at the output when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..onnx_graph.cost import LayerCost, layer_costs
from ..onnx_graph.graph import describe
from ..onnx_graph.segments import live_before
from .activations import Activations
from .simulate import QuantizedGraph

# What two changes of format cost, in bytes of a mean layer. MobileNetV2 on an Orin Nano takes 0.85 ms in FP16
# at batch 1, and INT8 saves 0.07 ms (onnxsim PR 1742): 1.3 us a layer; two small kernels take about 10.
FORMAT_CHANGES = 8.0

Track = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer alone in INT8, all others in float.

    Attributes:
        node: the layer's first output, which names it.
        layer: operator, name and PyTorch module.
        error: norm of the output's error over norm of its signal (the output less its mean).
        cost: what it takes for one input.
    """

    node: str
    layer: str
    error: float
    cost: LayerCost


def rank_layers(
    student: QuantizedGraph, samples: NDArray[np.float32], track: Track = iter
) -> list[LayerSensitivity]:
    """Every quantized layer with its error, the worst first.

    Args:
        student: the fake-quantized graph.
        samples: inputs, shape (N, ...).
        track: wraps the layers, to show progress.
    """
    model = student.reference
    output = model.graph.output[0].name
    nodes = {node.output[0]: node for node in model.graph.node}
    right = np.concatenate(list(Activations(model, samples).values(model, output)))
    signal = float(np.linalg.norm(right - right.mean(axis=0))) or 1.0
    whole, activations = student.only(()), Activations(model, samples)
    costs = layer_costs(model, student.layers, samples.shape[1:])
    found = []
    for layer in track(student.layers):
        activations.advance(whole, live_before(whole, layer))
        answer = np.concatenate(list(activations.values(student.only({layer}), output)))
        error = float(np.linalg.norm(answer - right)) / signal
        found.append(LayerSensitivity(layer, describe(nodes[layer]), error, costs[layer]))
    return sorted(found, key=lambda layer: -layer.error)


def by_gain(ranked: Sequence[LayerSensitivity]) -> list[LayerSensitivity]:
    """The layers in the order in which they are best left float: by squared error over what that costs.

    Errors of layers add up by their squares. A layer in float moves twice the bytes, and on small GPUs most
    layers wait for memory. However small it is, it takes two changes of format more.
    """
    mean = sum(layer.cost.elements for layer in ranked) / max(1, len(ranked))
    cost = {layer.node: layer.cost.elements + FORMAT_CHANGES * mean for layer in ranked}
    gain = {layer.node: layer.error**2 / (cost[layer.node] or 1) for layer in ranked}
    return sorted(ranked, key=lambda layer: -np.nan_to_num(gain[layer.node], nan=np.inf))
