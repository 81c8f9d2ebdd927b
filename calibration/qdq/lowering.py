"""Rewriting operators without an integer CPU kernel into operators that have one, to the same outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx
from onnx import NodeProto, helper

from ..onnx_graph.graph import array_of, initializers
from ..onnx_graph.shapes import inferred_shapes
from ..ranges.statistics import Range

GATE = Range(0.0, 1.0)
RANK = 4
HEIGHT_AND_WIDTH = {2, 3}
HARD_SWISH_ZERO = -3.0  # hard-swish is 0 from here down


@dataclass(frozen=True)
class Lowered:
    """A model of the same outputs, and the ranges with those of the values that are new."""

    model: onnx.ModelProto
    ranges: Mapping[str, Range]


def lower(model: onnx.ModelProto, ranges: Mapping[str, Range], keep_float: Collection[str] = ()) -> Lowered:
    """Write HardSwish as a product with a HardSigmoid, and the mean over height and width as a pool.

    Args:
        model: a float32 model.
        ranges: the range of each value on real inputs.
        keep_float: first outputs of nodes that are left as they are.
    """
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    found, axes, readers, known = dict(ranges), _constant_axes(model), _readers(model), inferred_shapes(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.output[0] in keep_float:
            nodes.append(node)
        elif node.op_type == "HardSwish":
            nodes += _hard_swish(node, found)
            source = node.input[0]
            if source in found and all(reader.op_type == "HardSwish" for reader in readers[source]):
                found[source] = Range(max(found[source].low, HARD_SWISH_ZERO), found[source].high)
        elif (
            node.op_type == "ReduceMean"
            and len(known.get(node.input[0], ())) == RANK
            and axes.get(node.output[0]) == HEIGHT_AND_WIDTH
        ):
            nodes += _pool(node, found)
        else:
            nodes.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    lowered.graph.ClearField("node")
    lowered.graph.node.extend(copies)
    return Lowered(lowered, found)


def _hard_swish(node: NodeProto, ranges: dict[str, Range]) -> list[NodeProto]:
    """x * HardSigmoid(x), as ONNX defines it."""
    source, output = node.input[0], node.output[0]
    gate = f"{output}.gate"
    ranges[gate] = GATE
    product = helper.make_node("Mul", [source, gate], [output], name=node.name)
    product.metadata_props.extend(node.metadata_props)
    sigmoid = helper.make_node(
        "HardSigmoid", [source], [gate], name=f"{node.name}.gate", alpha=1 / 6, beta=0.5
    )
    return [sigmoid, product]


def _pool(node: NodeProto, ranges: dict[str, Range]) -> list[NodeProto]:
    keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    output = node.output[0]
    pooled = output if keep else f"{output}.pooled"
    nodes = [helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], name=node.name)]
    nodes[0].metadata_props.extend(node.metadata_props)
    if not keep:
        nodes.append(helper.make_node("Flatten", [pooled], [output], name=f"{node.name}.flat"))
        if output in ranges:
            ranges[pooled] = ranges[output]
    return nodes


def _constant_axes(model: onnx.ModelProto) -> dict[str, set[int]]:
    """The known axes of each ReduceMean over images: an attribute before opset 18, an input since."""
    weights = initializers(model)
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        if node.op_type != "ReduceMean":
            continue
        given = [list(a.ints) for a in node.attribute if a.name == "axes"]
        given += [array_of(weights[name]).tolist() for name in node.input[1:] if name in weights]
        if given:
            found[node.output[0]] = {axis % RANK for axis in given[0]}
    return found


def _readers(model: onnx.ModelProto) -> dict[str, list[NodeProto]]:
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
