"""A graph cut into stretches, so that what comes before one is computed only once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import NodeProto, ValueInfoProto

from .graph import initializers


@dataclass(frozen=True)
class Segment:
    """A graph from one of its values on, and those of its values that are looked at.

    Attributes:
        model: its input is that value; its outputs are the graph's first one and `following`.
        names: activations made from there up to `following`, in the order of the graph.
        following: the value at which the next segment starts; None for the last.
    """

    model: onnx.ModelProto
    names: Sequence[str]
    following: str | None


def segments(model: onnx.ModelProto, names: Collection[str]) -> Iterator[Segment]:
    """The fewest nodes for each activation: from the last value before it that every path crosses.

    The first segment starts at the graph's input, whatever comes before the first activation.

    Args:
        model: a float model with one input, shapes inferred as far as they can be.
        names: activations, each of which comes to be in one segment.

    Yields:
        In the order of the graph, one at a time: each holds a copy of the weights that it needs.
    """
    graph, cuts = model.graph, _cuts(model)
    made_at = {name: index for index, node in enumerate(graph.node) for name in node.output}
    shares: dict[int, list[str]] = {}
    for name in sorted(names, key=lambda name: made_at.get(name, -1)):
        start = max(at for at, value in cuts.items() if value == name or at <= made_at.get(name, -1))
        start = start if shares else 0
        shares.setdefault(start, []).append(name)
    following = [*(cuts[at] for at in list(shares)[1:]), None][: len(shares)]
    for (at, found), after in zip(shares.items(), following, strict=True):
        ends = [model.graph.output[0].name, *([after] if after else [])]
        yield Segment(between(model, [cuts[at]], ends), found, after)


def between(model: onnx.ModelProto, starts: Sequence[str], ends: Sequence[str]) -> onnx.ModelProto:
    """The nodes that compute some values from others, with copies of the weights that they need.

    Args:
        model: the whole graph.
        starts: values that are given; those that are read become the inputs, of the types and shapes that
            the graph has recorded for them.
        ends: values to compute, the outputs.
    """
    known, weights = _infos(model), initializers(model)
    nodes: list[NodeProto] = []
    wanted = set(ends).difference(starts)
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            nodes.append(node)
            wanted.update(name for name in node.input if name not in starts)
    read = dict.fromkeys(name for node in nodes for name in node.input)
    graph = onnx.helper.make_graph(
        nodes[::-1],
        f"up to {', '.join(ends)}",
        [known[name] for name in starts if name in read or name in ends],
        [known[name] for name in ends],
        [weights[name] for name in read if name in weights],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def live_before(model: onnx.ModelProto, output: str) -> list[str]:
    """The activations that were made before a node and are read by it or after it.

    Args:
        model: the graph.
        output: the node's first output.
    """
    graph, weights = model.graph, initializers(model)
    index = next(i for i, node in enumerate(graph.node) if node.output[0] == output)
    made = [info.name for info in graph.input if info.name not in weights]
    made += [name for node in graph.node[:index] for name in node.output if name]
    read = {name for node in graph.node[index:] for name in node.input}
    read |= {info.name for info in graph.output}
    return [name for name in made if name in read]


def _cuts(model: onnx.ModelProto) -> dict[int, str]:
    """The only value that the nodes from an index on need of what was before, by that index."""
    graph, known = model.graph, _infos(model)
    last = {name: index for index, node in enumerate(graph.node) for name in node.input}
    last[graph.output[0].name] = len(graph.node)
    alive = {graph.input[0].name}
    cuts = {0: graph.input[0].name}
    for index, node in enumerate(graph.node):
        alive = {name for name in (*alive, *node.output) if last.get(name, -1) > index}
        if len(alive) == 1 and alive <= known.keys() and index + 1 < len(graph.node):
            cuts[index + 1] = next(iter(alive))
    return cuts


def _infos(model: onnx.ModelProto) -> dict[str, ValueInfoProto]:
    graph = model.graph
    return {info.name: info for info in (*graph.value_info, *graph.output, *graph.input)}
