"""Unevenness of channels shared between activations and the weights that read them.

Xiao et al., "SmoothQuant" (arXiv 2211.10438): a channel of the activation is divided by what its weights are
multiplied with. Here that is done in front of convolutions that mix channels: behind a ReLU, or nothing, in
the weights of the convolution before, which have a step size for each channel and lose nothing; behind other
activation functions by a factor a channel. How much of the unevenness moves is chosen for each layer by the
error that both roundings are expected to give its output, as variances: of the activations a twelfth of the
squared step, times the weights' power; of the weights the same, times the activations' power.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from ..onnx_graph.graph import array_of, groups_of, initializers, makers, reader_counts
from ..qdq.quantized_inputs import QuantizedInput
from ..ranges.integer_format import ACTIVATION_INT8, WEIGHT_INT8
from .cross_layer_equalization import (
    ChannelStatistics,
    channel_statistics,
    halvable,
    has_own_weights,
    scale_channels,
)
from .pointwise import ACTIVATIONS, apply_constants

SHARES = np.linspace(0.0, 1.0, 11)  # of the activations' unevenness that moves into the weights
LEAST_GAIN = 0.8  # what must become of the expected error
FACTORS = (2.0**-5, 2.0**5)
CUT = 8.0  # roots of the mean square that a channel is taken to reach at most


@dataclass(frozen=True)
class Uneven:
    """A value whose channels can be scaled.

    Attributes:
        readers: the convolutions that read it, no one else.
        maker: the convolution that makes it, with a ReLU after it or nothing, and takes the scale; None where
            it takes a multiplication.
    """

    readers: Sequence[NodeProto]
    maker: NodeProto | None


def smooth(
    model: onnx.ModelProto, sites: Iterable[QuantizedInput], batches: Iterable[NDArray[Any]]
) -> onnx.ModelProto:
    """Move unevenness of channels into weights where something is gained.

    Args:
        model: a float32 model.
        sites: its quantized inputs.
        batches: calibration inputs, each of shape (N, ...).

    Returns:
        A model that computes the same, up to float rounding; the model itself where nothing is gained.
    """
    uneven = find_uneven(model, sites)
    found = channel_statistics(model, list(uneven), batches)
    weights = initializers(model)
    factors: dict[str, NDArray[np.float32]] = {}
    for value, entry in uneven.items():
        chosen = _factors_of(entry, found[value], weights)
        if chosen is not None:
            factors[value] = chosen
    if not factors:
        return model
    ranks = {value: len(weights[uneven[value].readers[0].input[1]].dims) for value in factors}
    multiplied = {
        value: factor.reshape(-1, *[1] * (ranks[value] - 2))
        for value, factor in factors.items()
        if uneven[value].maker is None
    }
    changed = apply_constants(model, "Mul", multiplied)
    tensors = initializers(changed)
    for value, factor in factors.items():
        maker = uneven[value].maker
        for name in maker.input[1:3] if maker is not None else ():
            scale_channels(tensors[name], factor)
        for node in uneven[value].readers:
            scale_channels(tensors[node.input[1]], np.reciprocal(factor), 1)
    return changed


def _factors_of(
    entry: Uneven, statistics: ChannelStatistics, weights: Mapping[str, TensorProto]
) -> NDArray[np.float32] | None:
    arrays = [array_of(weights[node.input[1]]) for node in entry.readers]
    rows = np.concatenate([np.moveaxis(array, 1, -1).reshape(-1, array.shape[1]) for array in arrays])
    sizes = [(len(array), array[0, 0].size) for array in arrays]
    starts = np.cumsum([0, *(count for count, _ in sizes)])
    owners = [np.repeat(np.arange(n) + start, taps) for (n, taps), start in zip(sizes, starts, strict=False)]
    least = np.full(rows.shape[1], FACTORS[0])
    if entry.maker is not None:  # float16 must still hold the step sizes of its weights
        least = np.clip(1 / halvable(array_of(weights[entry.maker.input[1]])), FACTORS[0], 1.0)
    return best_factors(statistics, rows, np.concatenate(owners), least)


def best_factors(
    statistics: ChannelStatistics,
    rows: NDArray[np.float32],
    owners: NDArray[np.intp],
    least: NDArray[np.float64],
) -> NDArray[np.float32] | None:
    """What to multiply each channel of an activation with, shape (C,); None where little is gained.

    Args:
        statistics: of the activation's channels.
        rows: the weights that read it, shape (rows, C).
        owners: of each row its output channel, whose step size it has.
        least: what each channel may be multiplied with at the least, shape (C,).
    """
    reach = np.minimum(statistics.maxima, CUT * statistics.rms)
    strength, largest = np.abs(rows).max(axis=0).astype(np.float64), statistics.maxima.max()
    alive = (reach > 0) & (strength > 0)
    if alive.sum() < 2:
        return None
    candidates = [np.ones_like(reach)]
    for share in SHARES:
        factor = np.ones_like(reach)
        factor[alive] = strength[alive] ** (1 - share) / reach[alive] ** share
        factor[alive] *= largest / (statistics.maxima * factor)[alive].max()  # no value grows beyond it
        candidates.append(np.clip(factor, least, FACTORS[1]))
    errors = [_expected_error(factor, reach, statistics.rms, rows, owners) for factor in candidates]
    best = int(np.argmin(errors))
    return candidates[best].astype(np.float32) if errors[best] < LEAST_GAIN * errors[0] else None


def _expected_error(
    factor: NDArray[np.float64],
    reach: NDArray[np.float64],
    rms: NDArray[np.float64],
    rows: NDArray[np.float32],
    owners: NDArray[np.intp],
) -> float:
    """Sum of the output channels' variances, without the twelfth."""
    scaled = rows / factor
    largest = np.zeros(int(owners.max()) + 1)
    np.maximum.at(largest, owners, np.abs(scaled).max(axis=1))
    of_activations = (np.max(reach * factor) / ACTIVATION_INT8.highest) ** 2 * np.sum(np.square(scaled))
    steps = (largest / WEIGHT_INT8.highest) ** 2
    taps = np.bincount(owners, minlength=len(steps))
    of_weights = np.sum(steps * taps) * np.sum(np.square(rms * factor))
    return float(of_activations + of_weights)


def find_uneven(model: onnx.ModelProto, sites: Iterable[QuantizedInput]) -> dict[str, Uneven]:
    """The values that can be scaled, by name: convolutions that mix channels alone read them."""
    weights, made_by, uses = initializers(model), makers(model), reader_counts(model)
    quantized = {site.node for site in sites if site.axis is not None}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        whole = node.op_type == "Conv" and node.output[0] in quantized and uses[node.input[1]] == 1
        if whole and groups_of(node) == 1:
            readers.setdefault(node.input[0], []).append(node)
    found = {}
    for value, nodes in readers.items():
        maker = made_by.get(value)
        if maker is None or len(nodes) != uses[value]:
            continue
        if maker.op_type in ACTIVATIONS:
            found[value] = Uneven(nodes, None)
            continue
        if maker.op_type == "Relu" and uses[maker.input[0]] == 1:
            maker = made_by.get(maker.input[0])
        if maker is not None and maker.op_type == "Conv" and has_own_weights(maker, weights, uses):
            found[value] = Uneven(nodes, maker)
    return found
