"""Values between 0 and a cap moved around zero, so that symmetric INT8 has all its levels for them.

TensorRT takes no zero point, so the output of a ReLU or ReLU6, which is never negative, would use half of
the integers. Its offset can go elsewhere: the convolution before gives its output less a constant, the limits
move along, and the next convolution's bias takes the constant back. It is what an implementation of
asymmetric quantization does with a zero point (Jacob et al., arXiv 1712.05877), carried out once, in the
weights. The function stays the same, up to float rounding, and so does the graph: TensorRT fuses a
convolution with a Clip of any limits. Behind other activation functions, which take no offset from the
convolution before, it is a subtraction of its own.

The constant that comes back is that of the weights as they are: where these are to be rounded, round them
first, or the rounding of all of a channel's weights adds up in it.

It is valid where only convolutions without padding read the value: zeros that are padded around it would no
longer mean zero. In front of depthwise convolutions each channel has its own scale instead, and one offset
does not fit them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from ..onnx_graph.graph import activation_limits, array_of, as_tensor, initializers, makers, reader_counts
from ..ranges.histogram import Histogram
from ..ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8
from ..ranges.methods import mse_range
from ..ranges.statistics import Range
from .cross_layer_equalization import is_depthwise
from .pointwise import ACTIVATIONS, applied, apply_constants

MOST_OF = 0.75  # of the symmetric range: a range that is hardly narrower around its middle is not moved


@dataclass(frozen=True)
class Capped:
    """A value that can be moved.

    Attributes:
        first: the convolution that makes it.
        clip: the Relu or Clip after that, from 0 to a cap.
        readers: the layers that read it.
        cap: the upper limit; infinite for a Relu.
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
        limits = activation_limits(clip, weights)
        maker = made_by.get(clip.input[0]) if limits else None
        if not limits or not maker:
            continue
        low, cap = limits
        readers = _offset_readers(model, clip.output[0], weights, uses)
        if (
            low == 0
            and cap > 0
            and _has_own_bias(maker, weights, uses)
            and uses[maker.output[0]] == 1
            and readers
        ):
            found.append(Capped(maker, clip, readers, cap))
    return found


def with_offsets(model: onnx.ModelProto, histograms: Mapping[str, Histogram]) -> onnx.ModelProto:
    """Subtract zero from the activations that are worth moving and take no offset from a convolution.

    Args:
        model: a float32 model.
        histograms: of the values that INT8 rounds; others stay.

    Returns:
        A model that computes the same; the model itself where there is no such activation.
    """
    weights, uses = initializers(model), reader_counts(model)
    values = [node.output[0] for node in model.graph.node if node.op_type in ACTIVATIONS]
    movable = [v for v in values if v in histograms and _offset_readers(model, v, weights, uses)]
    zeros = {v: np.zeros((), np.float32) for v in movable if _is_uneven(_least_error(histograms[v]))}
    return apply_constants(model, "Sub", zeros) if zeros else model


def find_subtracted(model: onnx.ModelProto) -> list[NodeProto]:
    """The subtractions that `with_offsets` added."""
    return [node for node in model.graph.node if node.op_type == "Sub" and applied(node)]


def _offset_readers(
    model: onnx.ModelProto, value: str, weights: Mapping[str, TensorProto], uses: Counter[str]
) -> tuple[NodeProto, ...]:
    """All who read a value, if each can take an offset back; else none."""
    readers = tuple(node for node in model.graph.node if value in node.input)
    takes = all(_takes_offset(node, value, weights, uses) for node in readers)
    return readers if takes and len(readers) == uses[value] else ()


def shift_activations(model: onnx.ModelProto, offsets: Mapping[str, float]) -> onnx.ModelProto:
    """Move values by constants.

    Args:
        model: a float32 model.
        offsets: what is taken off each value that `find_capped` or `find_subtracted` names.

    Returns:
        A model that computes the same; the model itself where there is nothing to move.
    """
    chosen = [capped for capped in find_capped(model) if capped.value in offsets]
    subtracted = [node for node in find_subtracted(model) if node.output[0] in offsets]
    if not chosen and not subtracted:
        return model
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    nodes = {node.output[0]: node for node in moved.graph.node}
    tensors = initializers(moved)
    for capped in chosen:
        offset = np.float32(offsets[capped.value])
        _add(tensors[capped.first.input[2]], -offset)
        _set_limits(moved, nodes[capped.value], -offset, np.float32(capped.cap) - offset)
        _give_back(tensors, capped.readers, offset)
    for node in subtracted:
        offset = np.float32(offsets[node.output[0]])
        _add(tensors[node.input[1]], offset)
        _give_back(tensors, [reader for reader in model.graph.node if node.output[0] in reader.input], offset)
    return moved


def _give_back(tensors: Mapping[str, TensorProto], readers: Iterable[NodeProto], offset: np.float32) -> None:
    for reader in readers:
        _add(tensors[reader.input[2]], offset * _response(array_of(tensors[reader.input[1]])))


def _has_own_bias(node: NodeProto, weights: Mapping[str, TensorProto], uses: Counter[str]) -> bool:
    return (
        node.op_type == "Conv"
        and len(node.input) > 2
        and node.input[2] in weights
        and uses[node.input[2]] == 1
    )


def worth_moving(model: onnx.ModelProto, histograms: Mapping[str, Histogram]) -> dict[str, Range]:
    """The values that are worth moving, with their ranges of least square error.

    Args:
        model: a float32 model.
        histograms: of the values that INT8 rounds; others stay.
    """
    capped = {entry.value for entry in find_capped(model)}
    values = [*capped, *(node.output[0] for node in find_subtracted(model))]
    found = {name: _least_error(histograms[name]) for name in values if name in histograms}
    return {name: range_ for name, range_ in found.items() if name in capped or _is_uneven(range_)}


def _least_error(histogram: Histogram) -> Range:
    return mse_range(histogram, ACTIVATION_UINT8)


def _is_uneven(found: Range) -> bool:
    return found.high - found.low < 2 * MOST_OF * found.absmax


def middle(moved: Range) -> float:
    """What is taken off a value of this range: about its middle, such that zero is no rounding error."""
    step = (moved.high - moved.low) / (2 * ACTIVATION_INT8.highest)
    return round((moved.high + moved.low) / 2 / step) * step if step else 0.0


def centred(moved: Range) -> Range:
    """The range after that."""
    half = (moved.high - moved.low) / 2
    return Range(-half, half)


def _takes_offset(
    node: NodeProto, value: str, weights: Mapping[str, TensorProto], uses: Counter[str]
) -> bool:
    if not _has_own_bias(node, weights, uses) or node.input[0] != value or node.input[1] not in weights:
        return False
    if is_depthwise(node, weights):
        return False
    given = {attribute.name: attribute for attribute in node.attribute}
    padded = any(given["pads"].ints) if "pads" in given else False
    return not padded and ("auto_pad" not in given or given["auto_pad"].s in (b"NOTSET", b"VALID"))


def _set_limits(model: onnx.ModelProto, clip: NodeProto, low: np.float32, high: np.float32) -> None:
    """Make a Relu or Clip a Clip between other limits; without an upper one where that is infinite."""
    ends = {"min": low, "max": high} if np.isfinite(high) else {"min": low}
    value, clip.op_type = clip.input[0], "Clip"
    clip.ClearField("input")
    clip.input.append(value)
    for end, limit in ends.items():
        clip.input.append(f"{clip.output[0]}.{end}")
        model.graph.initializer.append(as_tensor(clip.input[-1], np.array(limit, np.float32)))


def _response(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a convolution without padding gives for an input of ones, shape (output channels,)."""
    return weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64).astype(np.float32)


def _add(tensor: TensorProto, addend: Any) -> None:
    tensor.CopyFrom(as_tensor(tensor.name, (array_of(tensor) + addend).astype(np.float32)))
