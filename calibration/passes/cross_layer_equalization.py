"""Cross-layer equalization: channels of one tensor brought to one scale, with the function unchanged.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721). A
channel of a convolution's output is scaled, and the next convolution's weights for it are divided by as much.
Between the two may stand ReLU or nothing, which scale along. ReLU6 does not, but its cap can do the work of a
range's end: the channel is stretched until its largest value on real inputs meets the cap. It is done where
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
from ..onnx_graph.graph import activation_limits, array_of, expose, initializers, makers, reader_counts

MAX_SCALE = 64.0  # a channel that hardly ever fires is not blown up further than this


@dataclass(frozen=True)
class Pair:
    """A convolution and the depthwise convolution that reads its output.

    Attributes:
        first, second: the two convolutions.
        value: the value that the second reads.
        cap: upper limit that the activation between them sets; None without one.
    """

    first: NodeProto
    second: NodeProto
    value: str
    cap: float | None


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
            _scale(tensors[name], stretch)
        _scale(tensors[pair.second.input[1]], np.reciprocal(stretch))
    return scaled


def channel_scales(pair: Pair, limits: NDArray[np.floating]) -> NDArray[np.float32]:
    """What each channel is multiplied with, shape (C,), so that its limit becomes the whole tensor's."""
    target = clip_limit(pair, limits)
    return np.clip(target / np.maximum(limits, target / MAX_SCALE), 1.0, MAX_SCALE).astype(np.float32)


def clip_limit(pair: Pair, limits: NDArray[np.floating]) -> float:
    """The limit of the whole tensor once its channels are scaled."""
    return pair.cap if pair.cap is not None else float(np.max(limits))


def channel_maxima(
    model: onnx.ModelProto, pairs: Sequence[Pair], batches: Iterable[NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """Largest magnitude of each channel (axis 1) of each pair's value on real inputs, shape (C,).

    Args:
        model: a float32 model.
        pairs: from `find_pairs`.
        batches: calibration inputs, each of shape (N, ...).
    """
    largest: dict[str, NDArray[np.float64]] = {}
    names = [pair.value for pair in pairs]
    if not names:
        return largest
    with Session(_reduced(model, names)) as session:
        for batch in batches:
            found = session.run(batch)
            for name in names:
                maxima = found[f"{name}.maxima"].max(axis=0).astype(np.float64)
                largest[name] = np.maximum(largest.get(name, maxima), maxima)
    return largest


def find_pairs(model: onnx.ModelProto) -> list[Pair]:
    """The places where equalization is valid and free."""
    weights = initializers(model)
    made_by, readers = makers(model), reader_counts(model)
    pairs = []
    for node in model.graph.node:
        if not _is_depthwise(node, weights) or readers[node.input[1]] > 1:
            continue
        maker = made_by.get(node.input[0])
        high = np.inf
        limits = activation_limits(maker, weights) if maker is not None else None
        if maker is not None and limits and readers[node.input[0]] == 1:
            low, high = limits
            maker = made_by.get(maker.input[0]) if low in (0.0, -np.inf) and high > 0 else None
        if maker is not None and _may_scale(maker, weights, readers):
            pairs.append(Pair(maker, node, node.input[0], high if np.isfinite(high) else None))
    return pairs


def _may_scale(node: NodeProto, weights: dict[str, onnx.TensorProto], readers: Counter[str]) -> bool:
    own = [name for name in node.input[1:] if name]
    return (
        node.op_type == "Conv"
        and readers[node.output[0]] == 1
        and all(name in weights and readers[name] == 1 for name in own)
    )


def _is_depthwise(node: NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    if node.op_type != "Conv" or node.input[1] not in weights:
        return False
    group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    shape = weights[node.input[1]].dims
    return group > 1 and shape[0] == group and shape[1] == 1


def _reduced(model: onnx.ModelProto, names: list[str]) -> bytes:
    """A model whose outputs are the maxima of the named values over all but batch and channels."""
    reduced = expose(model, names)
    del reduced.graph.output[:]
    for name in names:
        magnitude, flat = f"{name}.magnitude", f"{name}.flat"
        shape = numpy_helper.from_array(np.array([0, 0, -1], np.int64), f"{name}.shape")
        last = numpy_helper.from_array(np.array([2], np.int64), f"{name}.last")
        reduced.graph.initializer.extend([shape, last])
        make = onnx.helper.make_node
        reduced.graph.node.extend(
            [
                make("Abs", [name], [magnitude]),
                make("Reshape", [magnitude, shape.name], [flat]),
                make("ReduceMax", [flat, last.name], [f"{name}.maxima"], keepdims=0),
            ]
        )
        reduced.graph.output.append(
            onnx.helper.make_tensor_value_info(f"{name}.maxima", onnx.TensorProto.FLOAT, None)
        )
    return reduced.SerializeToString()


def _scale(tensor: onnx.TensorProto, factors: NDArray[np.float32]) -> None:
    values = array_of(tensor)
    shape = [-1] + [1] * (values.ndim - 1)
    tensor.CopyFrom(numpy_helper.from_array(values * factors.reshape(shape), tensor.name))
