"""Where a graph is quantized: the inputs of nodes that get a Q/DQ pair.

One list serves all who must agree on it: the writer of the INT8 graph, the calibration of its ranges, and
the simulation that recovers their loss.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto, TensorProto

from ...runtime.errors import ModelError
from ..onnx_graph.graph import element_types, initializers, reader_counts


@dataclass(frozen=True)
class QuantizedInput:
    """One quantized input of a node.

    Attributes:
        node: the node's first output, which names it even where it has no name.
        position: which input.
        value: the value there, an activation or an initializer.
        axis: the weight's output-channel axis; None for an activation, which has one scale.
    """

    node: str
    position: int
    value: str
    axis: int | None = None


@dataclass(frozen=True)
class Placement:
    """What differs from `find_quantized_inputs`' own rule, around the gates of squeeze-and-excitation.

    Attributes:
        name: by which it is known.
        left_float: first outputs of nodes that stay float although they could be quantized.
        added: activations that are quantized where the rule has none.
    """

    name: str
    left_float: frozenset[str] = frozenset()
    added: tuple[QuantizedInput, ...] = ()


LAYERS_ONLY = Placement("layers")
"""Layers and shortcuts alone, those within gates as all others."""


def find_quantized_inputs(
    model: onnx.ModelProto, keep_float: Collection[str] = (), placement: Placement = LAYERS_ONLY
) -> list[QuantizedInput]:
    """The inputs that the INT8 graph quantizes, in the order of the graph.

    Every Conv, Gemm and MatMul whose weights are a float initializer (a matrix, for MatMul) takes both its
    inputs quantized. Of a residual Add that follows such a node the shortcut is quantized: TensorRT then
    fuses convolution, addition and activation into one INT8 kernel ("Working with Quantized Types", TensorRT
    documentation). Activation functions and global pooling stay float: TensorRT computes those in the
    epilogue of the kernel before, or in half precision. Around the gates of squeeze-and-excitation the
    placement may say otherwise.

    Args:
        model: a float32 model.
        keep_float: first outputs of nodes that stay float.
        placement: what is done about the model's gates.

    Raises:
        ModelError: `keep_float` names what no node puts out first.
    """
    _refuse_unknown(model, keep_float)
    kept = {*keep_float, *placement.left_float}
    weights, types = initializers(model), element_types(model)
    found: list[QuantizedInput] = []
    for node in model.graph.node:
        axis = _channel_axis(node, weights, types)
        if axis is None or node.output[0] in kept:
            continue
        found.append(QuantizedInput(node.output[0], 0, node.input[0]))
        found.append(QuantizedInput(node.output[0], 1, node.input[1], axis))
    added = [site for site in placement.added if site.node not in kept]
    return [*found, *_shortcuts(model, weights, types, placement.left_float, kept), *added]


def layers(sites: Collection[QuantizedInput]) -> list[str]:
    """The nodes with quantized weights among the sites, by their first outputs, each once, in order."""
    return list(dict.fromkeys(site.node for site in sites if site.axis is not None))


def activations(sites: Collection[QuantizedInput]) -> list[str]:
    """The activations among the sites, each once, in order."""
    return list(dict.fromkeys(site.value for site in sites if site.axis is None))


def _refuse_unknown(model: onnx.ModelProto, keep_float: Collection[str]) -> None:
    unknown = set(keep_float) - {node.output[0] for node in model.graph.node}
    if unknown:
        raise ModelError(
            "Nodes are to stay float that the model does not have.",
            wanted="first outputs of nodes",
            got=", ".join(sorted(unknown)),
        )


def _channel_axis(
    node: NodeProto, weights: Mapping[str, TensorProto], types: Mapping[str, int]
) -> int | None:
    """The weight's output-channel axis; None for a node that cannot be quantized."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or types.get(node.input[0]) != TensorProto.FLOAT:
        return None
    weight = weights.get(node.input[1])
    if weight is None or weight.data_type != TensorProto.FLOAT or node.input[0] in weights:
        return None
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return None if attributes.get("transA") else 0 if attributes.get("transB") else 1
    return 1 if len(weight.dims) == 2 else None


def _shortcuts(
    model: onnx.ModelProto,
    weights: Mapping[str, TensorProto],
    types: Mapping[str, int],
    left_float: Collection[str],
    kept: Collection[str],
) -> list[QuantizedInput]:
    """The shortcut of each Add that alone reads a quantized convolution's output.

    Of an Add of two convolutions the last one is fused, whether or not it is kept float: which value is the
    shortcut, and so has a range, may not depend on that.
    """
    readers = reader_counts(model)
    convolutions = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Conv"
        and _channel_axis(node, weights, types) is not None
        and node.output[0] not in left_float
    }
    found = []
    for node in model.graph.node:
        if node.op_type != "Add" or node.output[0] in kept:
            continue
        fused = [i for i, name in enumerate(node.input) if name in convolutions and readers[name] == 1]
        if fused and node.input[fused[-1]] not in kept and node.input[1 - fused[-1]] not in weights:
            other = 1 - fused[-1]
            found.append(QuantizedInput(node.output[0], other, node.input[other]))
    return found
