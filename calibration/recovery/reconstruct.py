"""Layer-wise reconstruction on quantized activations: weights by GPTQ, biases by bias correction.

Each layer sees its input as INT8 gives it, after the layers before it were fitted. Its weights' step sizes
and rounding are those that change its output least there, and its bias takes the mean that is lost: labels
are not needed, nor gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from ..onnx_graph.graph import array_of, initializers
from ..onnx_graph.segments import live_before
from ..qdq.quantized_inputs import QuantizedInput
from .activations import Activations
from .bias import channel_means, missing_mean
from .gptq import Moments, best_steps, damped, round_together
from .im2col import input_patches, weight_matrix
from .simulate import QuantizedGraph, rounded_name

MAX_INPUTS = 4608  # of one output: 512 channels in a 3x3 window. The time for more grows with their cube
MAX_PLACES = 16384  # of a layer's output, over all inputs
MAX_NUMBERS = 30_000_000  # of all places together
SEED = 0

Track = Callable[[Sequence[NodeProto]], Iterable[NodeProto]]


def reconstruct(student: QuantizedGraph, samples: NDArray[np.float32], track: Track = iter) -> None:
    """Fit the weights, their step sizes and the biases of a fake-quantized graph to its reference, in place.

    A layer of more than 4608 inputs an output keeps its weights rounded to the nearest; its
    bias is corrected.

    Args:
        student: the fake-quantized graph.
        samples: calibration inputs, shape (N, ...).
        track: wraps the layers, to show progress.

    Raises:
        ModelError: ONNX Runtime does not accept the graph.
    """
    model, biases = student.reference, student.biased
    weights = {site.node: site for site in student.sites if site.axis is not None}
    wanted = channel_means(model, Activations(model, samples), list(biases))
    activations = Activations(model, samples)
    for node in track([node for node in model.graph.node if node.output[0] in {*weights, *biases}]):
        layer = node.output[0]
        activations.advance(student.model, live_before(student.model, layer))
        if layer in weights:
            _fit(student, weights[layer], node, activations)
        if layer in biases:
            found = channel_means(student.model, activations, [layer])
            student.shift_bias(biases[layer], missing_mean(wanted[layer], found[layer]))


def _fit(student: QuantizedGraph, site: QuantizedInput, node: NodeProto, activations: Activations) -> None:
    weight, axis = array_of(initializers(student.reference)[site.value]), site.axis or 0
    rows = weight_matrix(node, weight, axis)
    if rows.shape[2] > MAX_INPUTS:
        return
    moments = _moments(student, node, weight.shape[2:], rows.shape[0] * rows.shape[2], activations)
    covariance = moments.covariance(centred=len(node.input) > 2)
    steps = best_steps(rows, covariance.astype(np.float32))
    integers = round_together(rows.astype(np.float64), damped(covariance), steps.astype(np.float64))
    moved = np.moveaxis(weight, axis, 0).shape
    shape = [-1 if side == axis else 1 for side in range(weight.ndim)]
    student.set_weight(site.value, np.moveaxis(integers.reshape(moved), 0, axis), steps.reshape(shape))


def _moments(
    student: QuantizedGraph, node: NodeProto, kernel: Sequence[int], size: int, activations: Activations
) -> Moments:
    """Of the layer's inputs, at places of its output that are drawn by seed; `size` numbers at each."""
    moments, random = Moments(), np.random.default_rng(SEED)
    most = max(1, min(MAX_PLACES, MAX_NUMBERS // size) // len(activations))
    for value in activations.values(student.model, rounded_name(node.input[0])):
        moments.add(input_patches(node, value, kernel, most, random))
    return moments
