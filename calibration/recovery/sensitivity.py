"""What each layer costs in INT8: the error at the output when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from ..onnx_graph.graph import describe
from .network import TorchGraph
from .simulate import QuantizedGraph

Track = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True)
class LayerDamage:
    """One layer alone in INT8, all others in float.

    Attributes:
        node: the layer's first output, which names it.
        layer: operator, name and PyTorch module.
        relative_l2: norm of the output's error over norm of its signal (the output less its mean).
    """

    node: str
    layer: str
    relative_l2: float


def rank_layers(
    model: onnx.ModelProto, student: QuantizedGraph, samples: NDArray[np.float32], track: Track = iter
) -> list[LayerDamage]:
    """Every quantized layer with its damage, the worst first.

    Args:
        model: the float32 graph.
        student: the simulation of its INT8 form.
        samples: inputs, shape (N, ...), shown as one batch.
        track: wraps the layers, to show progress.
    """
    batch = torch.from_numpy(samples)
    teacher = TorchGraph(model)
    output = teacher.outputs[0]
    nodes = {node.output[0]: node for node in model.graph.node}
    found = []
    with torch.no_grad():
        right = teacher.run(batch, [output])[output]
        signal = float((right - right.mean(dim=0)).norm()) or 1.0
        for layer in track(student.layers):
            answer = student.only({layer}).run(batch, [output])[output]
            error = float((answer - right).norm()) / signal
            found.append(LayerDamage(layer, describe(nodes[layer]), error))
    return sorted(found, key=lambda damage: -damage.relative_l2)
