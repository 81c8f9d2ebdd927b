"""Cross-layer equalization: channels of one tensor brought to one scale, with the function unchanged.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721). A
channel of a convolution's output is scaled, and the next convolution's weights for it are divided by as much.
Between the two may stand ReLU or nothing, which scale along. ReLU6 does not, but its cap can be the clipping
bound: the channel is stretched until its largest value on real inputs meets the cap. It is done where
it costs nothing: in front of depthwise convolutions, whose weights have a step size for each channel. In
front of others it would move the unevenness from the activations into the weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from ...runtime.session.session import Session
from ..onnx_graph.graph import (
    activation_limits,
    array_of,
    as_tensor,
    expose,
    groups_of,
    initializers,
    makers,
    reader_counts,
)
from ..qdq.formats import along, weight_scale
from ..qdq.half_scales import HALF_NORMAL
from ..ranges.integer_format import ACTIVATION_INT8, MIN_SCALE

MAX_SCALE = 64.0  # a channel that hardly ever fires is not blown up further than this
CUTS = (12.0, 8.0, 6.0, 4.0)  # where a channel may be cut off, in roots of its mean square


@dataclass(frozen=True)
class Pair:
    """A convolution and the depthwise convolution that reads its output.

    Attributes:
        first, second: the two convolutions.
        value: the value that the second reads.
        cap: upper limit that the activation between them sets; None without one.
        most: what each channel may be multiplied with at the most, shape (C,): float16 holds the step sizes
            of the second one's weights, which are divided by it.
    """

    first: NodeProto
    second: NodeProto
    value: str
    cap: float | None
    most: NDArray[np.float64]


def equalize(model: onnx.ModelProto, limits: Mapping[str, NDArray[np.floating]]) -> onnx.ModelProto:
    """Scale the channels of each pair's value until all reach as far as the widest, or as the cap.

    Args:
        model: a float32 model.
        limits: largest magnitude worth keeping of each channel, shape (C,), by the value of a pair. With a
            cap, what lies beyond is cut off there.

    Returns:
        A model of the same graph with other weights; the model itself where nothing can be equalized.
    """
    pairs = [pair for pair in find_pairs(model) if pair.value in limits]
    if not pairs:
        return model
    scaled = onnx.ModelProto()
    scaled.CopyFrom(model)
    tensors = initializers(scaled)
    for pair in pairs:
        stretch = channel_scales(pair, limits[pair.value])
        for name in pair.first.input[1:3]:
            scale_channels(tensors[name], stretch)
        scale_channels(tensors[pair.second.input[1]], np.reciprocal(stretch))
    return scaled


def channel_scales(pair: Pair, limits: NDArray[np.floating]) -> NDArray[np.float32]:
    """What each channel is multiplied with, shape (C,), so that its limit becomes the whole tensor's."""
    target = clip_limit(pair, limits)
    least = 1.0 if pair.cap is not None else 1 / MAX_SCALE
    return np.clip(target / np.maximum(limits, target / MAX_SCALE), least, pair.most).astype(np.float32)


def clip_limit(pair: Pair, limits: NDArray[np.floating]) -> float:
    """The limit of the whole tensor once its channels are scaled: the cap, or between the channels' limits.

    In the middle, for neither the values nor the weights after them should leave what float16 holds well.
    """
    if pair.cap is not None:
        return pair.cap
    largest = float(np.max(limits))
    return float(np.sqrt(largest * max(float(np.min(limits)), largest / MAX_SCALE**2)))


def channel_steps(pair: Pair, limits: NDArray[np.floating]) -> NDArray[np.float32]:
    """The step size that INT8 then has for each channel, as it is before the scaling, shape (C,)."""
    steps = clip_limit(pair, limits) / channel_scales(pair, limits) / ACTIVATION_INT8.highest
    return np.maximum(steps, MIN_SCALE).astype(np.float32)


@dataclass(frozen=True)
class ChannelStatistics:
    """How large each channel of a value is on real inputs.

    Attributes:
        maxima: largest magnitudes, shape (C,).
        rms: roots of the mean squares, shape (C,).
    """

    maxima: NDArray[np.float64]
    rms: NDArray[np.float64]

    def limits(self) -> dict[str, NDArray[np.float64]]:
        """Limits to choose from: all values, or so many times the root of the mean square."""
        cut = {f"{times:g} rms": np.minimum(self.maxima, times * self.rms) for times in CUTS}
        return {"max": self.maxima, **cut}


def channel_statistics(
    model: onnx.ModelProto, names: Sequence[str], batches: Iterable[NDArray[Any]]
) -> dict[str, ChannelStatistics]:
    """How large each channel (axis 1) of some values is on real inputs.

    Args:
        model: a float32 model.
        names: the values.
        batches: calibration inputs, each of shape (N, ...).
    """
    if not names:
        return {}
    maxima: dict[str, NDArray[np.float64]] = {}
    squares: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    with Session(_reduced(model, names)) as session:
        for batch in batches:
            found = session.run(batch)
            for name in names:
                largest = found[f"{name}.maxima"].max(axis=0).astype(np.float64)
                maxima[name] = np.maximum(maxima.get(name, largest), largest)
                squares[name].append(found[f"{name}.squares"].astype(np.float64))
    return {
        name: ChannelStatistics(maxima[name], np.sqrt(np.concatenate(squares[name]).mean(axis=0)))
        for name in names
    }


def find_pairs(model: onnx.ModelProto) -> list[Pair]:
    """The places where equalization is valid and free."""
    weights = initializers(model)
    made_by, readers = makers(model), reader_counts(model)
    pairs = []
    for node in model.graph.node:
        if not is_depthwise(node, weights) or readers[node.input[1]] > 1:
            continue
        maker = made_by.get(node.input[0])
        high = np.inf
        limits = activation_limits(maker, weights) if maker is not None else None
        if maker is not None and limits and readers[node.input[0]] == 1:
            low, high = limits
            maker = made_by.get(maker.input[0]) if low in (0.0, -np.inf) and high > 0 else None
        if maker is not None and _may_scale(maker, weights, readers):
            cap = high if np.isfinite(high) else None
            room = halvable(array_of(weights[node.input[1]]))
            pairs.append(Pair(maker, node, node.input[0], cap, np.clip(room, 1.0, MAX_SCALE)))
    return pairs


def halvable(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """By what each output channel (axis 0) may be divided until float16 loses digits of its step size."""
    return weight_scale(weight, 0).astype(np.float64) / HALF_NORMAL


def _may_scale(node: NodeProto, weights: Mapping[str, onnx.TensorProto], readers: Counter[str]) -> bool:
    return (
        (node.op_type == "Conv" or _has_factors(node, weights))
        and readers[node.output[0]] == 1
        and has_own_weights(node, weights, readers)
    )


def has_own_weights(node: NodeProto, weights: Mapping[str, onnx.TensorProto], readers: Counter[str]) -> bool:
    """Whether all inputs but the first are initializers that no other node reads."""
    return all(name in weights and readers[name] == 1 for name in node.input[1:] if name)


def _has_factors(node: NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether it multiplies with a constant factor for each channel, shape (C, 1, ...)."""
    if node.op_type != "Mul" or node.input[1] not in weights:
        return False
    channels, *others = weights[node.input[1]].dims or [1]
    return channels > 1 and len(others) > 0 and all(side == 1 for side in others)


def is_depthwise(node: NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node is a convolution, its weights known, of which each channel reads its own alone."""
    if node.op_type != "Conv" or node.input[1] not in weights:
        return False
    group, shape = groups_of(node), weights[node.input[1]].dims
    return group > 1 and shape[0] == group and shape[1] == 1


def _reduced(model: onnx.ModelProto, names: Sequence[str]) -> bytes:
    """A model that puts out maxima and mean squares of the named values, over all but batch and channels."""
    reduced = expose(model, names)
    graph, make = reduced.graph, onnx.helper.make_node
    del graph.output[:]
    for name in names:
        magnitude, flat, square = f"{name}.magnitude", f"{name}.flat", f"{name}.square"
        shape = numpy_helper.from_array(np.array([0, 0, -1], np.int64), f"{name}.shape")
        last = numpy_helper.from_array(np.array([2], np.int64), f"{name}.last")
        graph.initializer.extend([shape, last])
        graph.node.extend(
            [
                make("Abs", [name], [magnitude]),
                make("Reshape", [magnitude, shape.name], [flat]),
                make("ReduceMax", [flat, last.name], [f"{name}.maxima"], keepdims=0),
                make("Mul", [flat, flat], [square]),
                make("ReduceMean", [square, last.name], [f"{name}.squares"], keepdims=0),
            ]
        )
        for output in (f"{name}.maxima", f"{name}.squares"):
            graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    return reduced.SerializeToString()


def scale_channels(tensor: onnx.TensorProto, factors: NDArray[np.float32], axis: int = 0) -> None:
    """Multiply an initializer with one factor a channel of an axis, in place."""
    values = array_of(tensor)
    tensor.CopyFrom(as_tensor(tensor.name, values * along(axis, factors, values.ndim)))
