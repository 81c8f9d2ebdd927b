"""Values between 0 and a cap moved around zero, so that symmetric INT8 has all its levels for them.

TensorRT takes no zero point, so a ReLU6's output, which is never negative, would use half of the integers.
Its offset can go elsewhere: the convolution before gives its output less a constant, the cap moves along,
and the next convolution's bias takes the constant back. It is what an implementation of asymmetric
quantization does with a zero point (Jacob et al., arXiv 1712.05877), carried out once, in the weights. The
function stays the same, up to float rounding, and so does the graph: TensorRT fuses a convolution with a Clip
of any limits.

The constant that comes back is that of the weights as they are: where these are to be rounded, round them
first, or the rounding of all of a channel's weights adds up in it.

It is valid where only convolutions without padding read the value: zeros that are padded around it would no
longer mean zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from ..onnx_graph.graph import activation_limits, array_of, as_tensor, initializers, makers, reader_counts
from ..ranges.histogram import Histogram
from ..ranges.integer_format import ACTIVATION_UINT8
from ..ranges.methods import mse_range


@dataclass(frozen=True)
class Capped:
    """A value that can be moved.

    Attributes:
        first: the convolution that makes it.
        clip: the Clip after that, from 0 to a cap.
        readers: the layers that read it.
        cap: the upper limit.
    """

    first: NodeProto
    clip: NodeProto
    readers: tuple[NodeProto, ...]
    cap: float

    @property
    def value(self) -> str:
        """The name of the value."""
        return self.clip.output[0]


def find_capped(model: onnx.ModelProto) -> list[Capped]:
    """The values that can be moved, in the order of the graph."""
    weights = initializers(model)
    made_by, uses = makers(model), reader_counts(model)
    found = []
    for clip in model.graph.node:
        limits = activation_limits(clip, weights) if clip.op_type == "Clip" else None
        maker = made_by.get(clip.input[0]) if limits else None
        if not limits or not maker:
            continue
        low, cap = limits
        readers = tuple(node for node in model.graph.node if clip.output[0] in node.input)
        if (
            low == 0
            and 0 < cap < np.inf
            and _has_own_bias(maker, weights, uses)
            and uses[maker.output[0]] == 1
            and len(readers) == uses[clip.output[0]]
            and all(_takes_offset(node, clip.output[0], weights, uses) for node in readers)
        ):
            found.append(Capped(maker, clip, readers, cap))
    return found


def shift_activations(model: onnx.ModelProto, offsets: Mapping[str, float]) -> onnx.ModelProto:
    """Move values by constants.

    Args:
        model: a float32 model.
        offsets: what is taken off each value that `find_capped` names.

    Returns:
        A model that computes the same; the model itself where there is nothing to move.
    """
    chosen = [capped for capped in find_capped(model) if capped.value in offsets]
    if not chosen:
        return model
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    nodes = {node.output[0]: node for node in moved.graph.node}
    tensors = initializers(moved)
    for capped in chosen:
        offset = np.float32(offsets[capped.value])
        _add(tensors[capped.first.input[2]], -offset)
        _set_limits(moved, nodes[capped.value], -offset, np.float32(capped.cap) - offset)
        for reader in capped.readers:
            _add(tensors[reader.input[2]], offset * _response(array_of(tensors[reader.input[1]])))
    return moved


def _has_own_bias(node: NodeProto, weights: Mapping[str, TensorProto], uses: Counter[str]) -> bool:
    return (
        node.op_type == "Conv"
        and len(node.input) > 2
        and node.input[2] in weights
        and uses[node.input[2]] == 1
    )


def best_offsets(model: onnx.ModelProto, histograms: Mapping[str, Histogram]) -> dict[str, float]:
    """What to take off each value that can be moved: the middle of its range of least square error.

    Args:
        model: a float32 model.
        histograms: of the values that INT8 rounds; others stay.
    """
    capped = [entry.value for entry in find_capped(model) if entry.value in histograms]
    return {name: mse_range(histograms[name], ACTIVATION_UINT8).high / 2 for name in capped}


def _takes_offset(
    node: NodeProto, value: str, weights: Mapping[str, TensorProto], uses: Counter[str]
) -> bool:
    if not _has_own_bias(node, weights, uses) or node.input[0] != value or node.input[1] not in weights:
        return False
    given = {attribute.name: attribute for attribute in node.attribute}
    padded = any(given["pads"].ints) if "pads" in given else False
    return not padded and ("auto_pad" not in given or given["auto_pad"].s in (b"NOTSET", b"VALID"))


def _set_limits(model: onnx.ModelProto, clip: NodeProto, low: np.float32, high: np.float32) -> None:
    for position, (name, limit) in enumerate((("min", low), ("max", high)), start=1):
        clip.input[position] = f"{clip.output[0]}.{name}"
        model.graph.initializer.append(as_tensor(clip.input[position], np.array(limit, np.float32)))


def _response(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a convolution without padding gives for an input of ones, shape (output channels,)."""
    return weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64).astype(np.float32)


def _add(tensor: TensorProto, addend: Any) -> None:
    tensor.CopyFrom(as_tensor(tensor.name, (array_of(tensor) + addend).astype(np.float32)))
