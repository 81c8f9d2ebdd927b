"""Frames as they come: cast, layout and normalization go into the graph, whose input is then uint8.

They stand there as `Cast → Transpose → Sub → Mul`, the form that NVIDIA's compiler takes (it refuses a
Transpose of uint8). Where one float32 convolution alone reads the input, the factor goes into its weights,
and the offset into its bias if the convolution pads nothing: a zero of its padding stands for a picture's
mean, and would no longer. Lower precisions keep the four nodes in float32, so that their first Cast or
QuantizeLinear rounds the very values on which they were proven.

Resizing and cropping follow where they are asked for, as two matrix products with the weights of Pillow's
filters: NVIDIA's compiler takes a Resize, but not one that filters what it shrinks ("antialias"). Pillow
rounds to 8 bits after each product, and the graph does not, so pixels differ by about one at most; the export
judges what that changes. Rounding here would make a whole step of the last digit of a sum, which is another
on each device.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import InputError, ModelError
from ..onnx_graph.graph import array_of, as_tensor, initializers, makers, reader_counts
from ..onnx_graph.shapes import input_of

PREFIX = "uint8"  # of the names of new nodes, values and initializers
POINTWISE = ("Cast", "QuantizeLinear", "DequantizeLinear")  # of one scale, these treat all channels alike
_Channels = NDArray[np.float64]  # one value a channel


class _Step:
    """One node of the front: an operator, perhaps with a constant on its left or on its right."""

    def __init__(
        self,
        operator: str,
        values: NDArray[Any] | None = None,
        name: str = "",
        *,
        left: bool = False,
        **attributes: Any,
    ) -> None:
        self.operator, self.values, self.name, self.left = operator, values, name, left
        self.attributes = attributes


def with_uint8_input(model: onnx.ModelProto, trained: Preprocess, served: Preprocess) -> onnx.ModelProto:
    """The same model for uint8 pictures, shape (N, height, width, channels).

    Args:
        model: a model in any precision, whose input is float32 of shape (N, channels, height, width).
        trained: how its inputs are made of pictures.
        served: the same for the model that is made, from `uint8_request.served_preprocess`.

    Raises:
        ModelError: the input is another.
    """
    _check_input(model, trained)
    source, target = input_of(model).name, f"{PREFIX}.normalized"
    taking = onnx.ModelProto()
    taking.CopyFrom(model)
    _rename_reads(taking, source, target)
    offset = 255 * np.array(served.mean, np.float64)
    factor = 1 / (255 * np.array(served.std, np.float64))
    swapped = served.color != trained.color
    gathered = swapped and not _swap_weights(taking, target)
    steps = _folded(taking, target, offset, factor)
    _prepend(taking, source, target, [*_loading(trained, served), *steps, *_gathering(gathered, served)])
    _retype_input(taking, source, served.source)
    _drop_unread(taking)
    return taking


def pixels_of(inputs: NDArray[Any], trained: Preprocess, served: Preprocess) -> NDArray[np.uint8]:
    """The pixels of which a network's inputs were made.

    Args:
        inputs: normalized pictures, shape (N, channels, height, width).
        trained: how they were made of pictures.
        served: how the pixels are to lie.

    Raises:
        InputError: they were not made like that: there would be pixels below 0 or above 255.
    """
    mean, std = (np.array(values).reshape(1, -1, 1, 1) for values in (trained.mean, trained.std))
    values = 255 * (inputs * std + mean)
    if values.min() < -1 or values.max() > 256:
        raise InputError(
            "The inputs are not pictures that were normalized as the preprocessing says.",
            wanted="pixels from 0 to 255, once the normalization by mean and std is undone",
            got=f"values from {values.min():.1f} to {values.max():.1f}",
            todo="give the training's mean and std with --preprocess FILE.json",
        )
    step = 1 if served.color == trained.color else -1
    pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:, ::step].transpose(0, 2, 3, 1))


def _check_input(model: onnx.ModelProto, trained: Preprocess) -> None:
    found = input_of(model)
    fits = len(found.shape) == 4 and found.dtype == "float32" and found.shape[1] in (trained.channels, "?")
    if not fits or isinstance(found.shape[1], str):
        raise ModelError(
            "The model's input cannot be turned into uint8.",
            wanted=f"float32 of shape (N, {trained.channels}, height, width), as its preprocessing gives it",
            got=f"{found.dtype} of shape ({', '.join(map(str, found.shape))})",
        )


def _rename_reads(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new


@dataclass(frozen=True)
class _Weights:
    """Where a convolution's weights are stored.

    Attributes:
        convolution: the node.
        reader: the node that reads the initializer: the convolution itself, or a DequantizeLinear before it.
        position: which of that node's inputs it is.
    """

    convolution: NodeProto
    reader: NodeProto
    position: int

    @property
    def name(self) -> str:
        """Of the initializer."""
        return self.reader.input[self.position]


def _weights_behind(model: onnx.ModelProto, value: str, between: Collection[str]) -> _Weights | None:
    """The weights of the convolution that alone reads a value, perhaps behind nodes of some kinds."""
    stored, counts = initializers(model), reader_counts(model)
    node = _only_reader(model, value, counts)
    while node is not None and node.op_type in between and _has_one_scale(node, stored):
        value = node.output[0]
        node = _only_reader(model, value, counts)
    if node is None or node.op_type != "Conv" or node.input[0] != value or _attribute(node, "group", 1) != 1:
        return None
    if node.input[1] in stored:
        return _Weights(node, node, 1)
    maker = makers(model).get(node.input[1])
    if maker is None or maker.op_type != "DequantizeLinear" or maker.input[0] not in stored:
        return None
    by_output = _has_one_scale(maker, stored) or _attribute(maker, "axis", 1) == 0
    return _Weights(node, maker, 0) if by_output and counts[node.input[1]] == 1 else None


def _only_reader(model: onnx.ModelProto, value: str, counts: Counter[str]) -> NodeProto | None:
    return (
        next((node for node in model.graph.node if value in node.input), None) if counts[value] == 1 else None
    )


def _has_one_scale(node: NodeProto, stored: Mapping[str, TensorProto]) -> bool:
    """Whether all values of a tensor are treated alike."""
    return all(name in stored and array_of(stored[name]).size == 1 for name in node.input[1:])


def _attribute(node: NodeProto, name: str, usual: Any) -> Any:
    found = [helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name]
    return found[0] if found else usual


def _swap_weights(model: onnx.ModelProto, value: str) -> bool:
    """Let the first convolution take its input's channels in the other order; whether that could be done."""
    found = _weights_behind(model, value, POINTWISE)
    if found is not None:
        weights = array_of(initializers(model)[found.name])
        _replace(model, found.reader, found.position, weights[:, ::-1])
    return found is not None


def _folded(model: onnx.ModelProto, value: str, offset: _Channels, factor: _Channels) -> list[_Step]:
    """What of `(x - offset) * factor` remains to be computed, as operators with their constants."""
    found = _weights_behind(model, value, between=())
    stored = initializers(model)
    if (
        found is None
        or stored[found.name].data_type != TensorProto.FLOAT
        or not _bias_is_stored(found, stored)
    ):
        return [_step("Sub", offset, "offset"), _step("Mul", factor, "factor")]
    convolution = found.convolution
    weights = (array_of(stored[found.name]) * factor.reshape(1, -1, 1, 1)).astype(np.float32)
    _replace(model, convolution, 1, weights)
    if _pads(convolution):
        return [_step("Sub", offset, "offset")]
    bias = array_of(stored[convolution.input[2]]) if len(convolution.input) > 2 else 0.0
    shift = weights.sum(axis=(2, 3), dtype=np.float64) @ offset
    _replace(model, convolution, 2, (bias - shift).astype(np.float32))
    return []


def _step(operator: str, values: _Channels, name: str) -> _Step:
    return _Step(operator, values.astype(np.float32).reshape(1, -1, 1, 1), name)


def _bias_is_stored(found: _Weights, stored: Mapping[str, TensorProto]) -> bool:
    return all(name in stored for name in found.convolution.input[2:])


def _pads(convolution: NodeProto) -> bool:
    automatic = _attribute(convolution, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return automatic or any(_attribute(convolution, "pads", ()))


def _replace(model: onnx.ModelProto, node: NodeProto, position: int, values: NDArray[Any]) -> None:
    """Give a node an initializer of its own in the place of one of its inputs, or as its next input."""
    name = f"{PREFIX}.weights" if position < 2 else f"{PREFIX}.bias"
    taken = [tensor for tensor in model.graph.initializer if tensor.name == name]
    for tensor in taken:  # the swapped weights, whose factor is folded now
        model.graph.initializer.remove(tensor)
    model.graph.initializer.append(as_tensor(name, values))
    if position == len(node.input):
        node.input.append(name)
    else:
        node.input[position] = name


def _loading(trained: Preprocess, served: Preprocess) -> list[_Step]:
    """From pixels to planes of floats, resized and cropped where the model does that.

    Both products have their weights on the left, which no quantizer takes for a layer.
    """
    if served.source is None:
        return [_Step("Cast", to=TensorProto.FLOAT), _Step("Transpose", perm=[0, 3, 1, 2])]
    rows, columns = trained.matrices(*served.source)
    return [
        _Step("Cast", to=TensorProto.FLOAT),
        _Step("Transpose", perm=[0, 3, 2, 1]),
        *_filter(columns, "columns"),
        _Step("Transpose", perm=[0, 1, 3, 2]),
        *_filter(rows, "rows"),
    ]


def _filter(weights: NDArray[np.float32], name: str) -> list[_Step]:
    """One pass over columns or rows. Only weights below 0 can lead out of 0..255."""
    product, white = _Step("MatMul", weights, name, left=True), np.array([255], np.float32)
    return [product, _Step("Relu"), _Step("Min", white, f"{name}.white")] if weights.min() < 0 else [product]


def _gathering(gathered: bool, served: Preprocess) -> list[_Step]:
    order = np.arange(served.channels)[::-1]
    return [_Step("Gather", order, "order", axis=1)] if gathered else []


def _prepend(model: onnx.ModelProto, source: str, target: str, steps: Sequence[_Step]) -> None:
    """Put the nodes that make a network's input of pixels in front of it."""
    nodes, value = list[NodeProto](), source
    for index, step in enumerate(steps):
        made = target if index == len(steps) - 1 else f"{PREFIX}.{index}"
        inputs = [value]
        if step.values is not None:
            name = f"{PREFIX}.{step.name}"
            model.graph.initializer.append(as_tensor(name, step.values))
            inputs.insert(0 if step.left else 1, name)
        node = f"{PREFIX}/{index}.{step.operator}"
        nodes.append(helper.make_node(step.operator, inputs, [made], name=node, **step.attributes))
        value = made
    rest = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend([*nodes, *rest])


def _retype_input(model: onnx.ModelProto, source: str, sides: tuple[int, int] | None) -> None:
    tensor = next(info for info in model.graph.input if info.name == source).type.tensor_type
    tensor.elem_type = TensorProto.UINT8
    batch, channels, height, width = (
        onnx.TensorShapeProto.Dimension.FromString(side.SerializeToString()) for side in tensor.shape.dim
    )
    if sides is not None:
        height.dim_value, width.dim_value = sides
    tensor.shape.ClearField("dim")
    tensor.shape.dim.extend([batch, height, width, channels])


def _drop_unread(model: onnx.ModelProto) -> None:
    counts = reader_counts(model)
    for tensor in [tensor for tensor in model.graph.initializer if not counts[tensor.name]]:
        model.graph.initializer.remove(tensor)
