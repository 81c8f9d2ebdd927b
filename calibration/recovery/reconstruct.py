"""Layer after layer, weights rounded and biases corrected for what the INT8 layers before really hand on.

Each layer sees its input as INT8 gives it. Its weights' step sizes and rounding are those that change its
output least there, and its bias takes the mean that is lost: labels are not needed, nor gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from ..qdq.quantized_inputs import Site
from .bias import BiasCorrection
from .gptq import best_steps, damped, round_together
from .im2col import matrix, meet
from .network import TorchGraph, Track
from .simulate import QuantizedGraph

MOST_INPUTS = 4608  # of one output: 512 channels in a 3x3 window. The time for more grows with their cube


def reconstruct(
    model: onnx.ModelProto,
    student: QuantizedGraph,
    sites: Sequence[Site],
    samples: NDArray[np.float32],
    track: Track = iter,
) -> None:
    """Fit the weights, their step sizes and the biases of `student` to the float model, in place.

    A layer of more than 4608 inputs an output keeps its weights rounded to the nearest; its
    bias is corrected.

    Args:
        model: the float32 graph.
        student: the simulation of its INT8 form.
        sites: what it quantizes.
        samples: calibration inputs, shape (N, ...), shown as one batch.
        track: wraps the nodes, to show progress.

    Raises:
        ModelError: an operator cannot be simulated.
    """
    weights = {site.node: site for site in sites if site.axis is not None}
    correction = BiasCorrection(model, student)
    teacher = TorchGraph(model)

    def fit(node: NodeProto, value: Tensor) -> None:
        if node.output[0] in weights:
            _fit(student, weights[node.output[0]], node, value, teacher.weights)

    with torch.no_grad():
        batch = torch.from_numpy(samples)
        teacher.run(batch, teacher.outputs, after=correction.measure)
        student.run(batch, teacher.outputs, seen=fit, after=correction.correct, track=track)


def _fit(
    student: QuantizedGraph, site: Site, node: NodeProto, value: Tensor, weights: dict[str, Tensor]
) -> None:
    weight, axis = weights[site.value], site.axis or 0
    rows = matrix(node, weight, axis)
    if rows.shape[2] > MOST_INPUTS:
        return
    covariance = _covariance(meet(node, value, weight), centred=len(node.input) > 2)
    steps = best_steps(rows, covariance.float())
    integers = round_together(rows.double(), damped(covariance), steps.double())
    moved = weight.movedim(axis, 0)
    student.weights[site.value] = integers.float().reshape(moved.shape).movedim(0, axis).contiguous()
    shape = [-1 if side == axis else 1 for side in range(weight.ndim)]
    student.weight_steps[site.value] = steps.reshape(shape)


def _covariance(inputs: Tensor, *, centred: bool) -> Tensor:
    """Of inputs of shape (G, places, n); around zero where no bias can take the mean."""
    inputs = inputs.double()
    if centred:
        inputs = inputs - inputs.mean(dim=1, keepdim=True)
    return inputs.transpose(1, 2) @ inputs / inputs.shape[1]
