"""What each layer costs in INT8: the error at the output when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..onnx_graph.graph import describe
from ..onnx_graph.segments import live_before
from .activations import Activations
from .simulate import QuantizedGraph

Track = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer alone in INT8, all others in float.

    Attributes:
        node: the layer's first output, which names it.
        layer: operator, name and PyTorch module.
        error: norm of the output's error over norm of its signal (the output less its mean).
    """

    node: str
    layer: str
    error: float


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
    found = []
    for layer in track(student.layers):
        activations.advance(whole, live_before(whole, layer))
        answer = np.concatenate(list(activations.values(student.only({layer}), output)))
        error = float(np.linalg.norm(answer - right)) / signal
        found.append(LayerSensitivity(layer, describe(nodes[layer]), error))
    return sorted(found, key=lambda layer: -layer.error)
