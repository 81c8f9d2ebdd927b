"""Frames as they come: cast, layout and normalization go into the graph, whose input is then uint8.

They stand there as `Cast → Transpose → Sub → Mul`, the form that NVIDIA's compiler takes (it refuses a
Transpose of uint8). Where one float32 convolution alone reads the input, the factor goes into its weights,
and the offset into its bias if the convolution pads nothing: a zero of its padding stands for a picture's
mean, and would no longer. Lower precisions keep the four nodes in float32, so that their first Cast or
QuantizeLinear rounds the very values on which they were proven.
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

from ..runtime.errors import InputError, ModelError
from ..runtime.preprocess import Color, Preprocess
from .artifact import OnnxArtifact
from .batches import input_of
from .graph import array_of, as_tensor, initializers, makers, reader_counts

STAGE = "uint8-input"
PREFIX = "uint8"  # of the names of new nodes, values and initializers
POINTWISE = ("Cast", "QuantizeLinear", "DequantizeLinear")  # of one scale, these treat all channels alike
COLORS: tuple[Color, ...] = ("rgb", "bgr")

_Channels = NDArray[np.float64]  # one value a channel


@dataclass(frozen=True)
class Uint8Request:
    """What is asked of a model that takes pixels.

    Attributes:
        channels: their order, "rgb" or "bgr"; None for the order in which the network was trained.
    """

    channels: Color | None = None


def uint8_request(wanted: bool, channels: str | None) -> Uint8Request | None:
    """The request that the options --uint8-input and --channels make; None without the first.

    Raises:
        InputError: there is no such order of channels, or one is given to a model that takes floats.
    """
    if channels is not None and not wanted:
        raise InputError(
            f"--channels {channels} has no meaning for a model that takes floats.", todo="add --uint8-input"
        )
    chosen = next((color for color in COLORS if color == channels), None)
    if channels is not None and chosen is None:
        raise InputError(f"--channels {channels} is not known.", available=", ".join(COLORS))
    return Uint8Request(chosen) if wanted else None


def served_preprocess(request: Uint8Request, trained: Preprocess | None) -> Preprocess:
    """How a device prepares a picture for the model that is asked for.

    Args:
        request: what is asked for.
        trained: how the network's own inputs are made of pictures.

    Raises:
        InputError: it takes no pictures, its normalization is in the graph already, or its pictures are grey
            and an order of colours was asked for.
    """
    if trained is None:
        raise InputError(
            "A model that takes tensors cannot take pixels.",
            wanted="a model of pictures, and how its inputs were normalized",
            todo="leave --uint8-input out, or give the training's preprocessing with --preprocess FILE.json",
        )
    if trained.dtype != "float32":
        raise InputError(
            "The preprocessing is that of a model that takes pixels already.",
            wanted='the training\'s, with "dtype": "float32" and "layout": "NCHW"',
            got=f'"dtype": "{trained.dtype}" and "layout": "{trained.layout}"',
        )
    if request.channels is not None and trained.color == "gray":
        raise InputError(
            "The model takes grey pictures, which have one channel.", todo="leave --channels out"
        )
    return trained.for_pixels(request.channels)


def with_uint8_input(artifact: OnnxArtifact, trained: Preprocess, served: Preprocess) -> OnnxArtifact:
    """The same model for uint8 pictures, shape (N, height, width, channels).

    Args:
        artifact: a model in any precision, whose input is float32 of shape (N, channels, height, width).
        trained: how its inputs are made of pictures.
        served: the same for the model that is made, from `served_preprocess`.

    Raises:
        ModelError: the input is another.
    """
    model = onnx.ModelProto()
    model.CopyFrom(artifact.model)
    _check_input(model, trained)
    source, target = input_of(model).name, f"{PREFIX}.normalized"
    _rename_reads(model, source, target)
    offset = 255 * np.array(served.mean, np.float64)
    factor = 1 / (255 * np.array(served.std, np.float64))
    swapped = served.color != trained.color
    gathered = swapped and not _swap_weights(model, target)
    steps = _folded(model, target, offset, factor)
    _prepend(model, source, target, steps, gathered=gathered)
    _retype_input(model, source)
    _drop_unread(model)
    return artifact.derive(model, STAGE, artifact.precision)


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
            wanted="pixels from 0 to 255, once mean and std are taken back",
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


def _folded(
    model: onnx.ModelProto, value: str, offset: _Channels, factor: _Channels
) -> list[tuple[str, _Channels]]:
    """What of `(x - offset) * factor` remains to be computed, as operators with their constants."""
    found = _weights_behind(model, value, between=())
    stored = initializers(model)
    if (
        found is None
        or stored[found.name].data_type != TensorProto.FLOAT
        or not _bias_is_stored(found, stored)
    ):
        return [("Sub", offset), ("Mul", factor)]
    convolution = found.convolution
    weights = (array_of(stored[found.name]) * factor.reshape(1, -1, 1, 1)).astype(np.float32)
    _replace(model, convolution, 1, weights)
    if _pads(convolution):
        return [("Sub", offset)]
    bias = array_of(stored[convolution.input[2]]) if len(convolution.input) > 2 else 0.0
    shift = weights.sum(axis=(2, 3), dtype=np.float64) @ offset
    _replace(model, convolution, 2, (bias - shift).astype(np.float32))
    return []


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


def _prepend(
    model: onnx.ModelProto,
    source: str,
    target: str,
    steps: Sequence[tuple[str, _Channels]],
    *,
    gathered: bool,
) -> None:
    """Put the nodes that make a network's input of pixels in front of it."""
    chain: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
    ]
    for operator, values in steps:
        name = f"{PREFIX}.{'offset' if operator == 'Sub' else 'factor'}"
        model.graph.initializer.append(as_tensor(name, values.astype(np.float32).reshape(1, -1, 1, 1)))
        chain.append((operator, [name], {}))
    if gathered:
        order = as_tensor(f"{PREFIX}.order", np.arange(len(steps[0][1]))[::-1])
        model.graph.initializer.append(order)
        chain.append(("Gather", [order.name], {"axis": 1}))
    value, nodes = source, list[NodeProto]()
    for operator, constants, attributes in chain:
        made = f"{PREFIX}.{operator.lower()}"
        nodes.append(
            helper.make_node(operator, [value, *constants], [made], name=f"{PREFIX}/{operator}", **attributes)
        )
        value = made
    nodes[-1].output[0] = target
    rest = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend([*nodes, *rest])


def _retype_input(model: onnx.ModelProto, source: str) -> None:
    tensor = next(info for info in model.graph.input if info.name == source).type.tensor_type
    tensor.elem_type = TensorProto.UINT8
    batch, channels, height, width = (
        onnx.TensorShapeProto.Dimension.FromString(side.SerializeToString()) for side in tensor.shape.dim
    )
    tensor.shape.ClearField("dim")
    tensor.shape.dim.extend([batch, height, width, channels])


def _drop_unread(model: onnx.ModelProto) -> None:
    counts = reader_counts(model)
    for tensor in [tensor for tensor in model.graph.initializer if not counts[tensor.name]]:
        model.graph.initializer.remove(tensor)
