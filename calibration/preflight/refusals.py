"""From the words of NVIDIA's parser to a node of the graph, a reason and a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from ..onnx_graph.graph import describe, module_path

NOISE = re.compile(
    r"catchCudaError|cudaError|CUDA driver|CUDA initialization|^Invalid Node - ", re.IGNORECASE
)
ADDRESS = re.compile(r"\s*In \w+ at /\S+?:\d+|^\w+\.cpp:\d+: |\[\w+\.cpp:\d+: \w+\] ")
WRAPPING = re.compile(r"^\S+: Error Code \d+: [\w ]+ \((.*?)\)?$", re.DOTALL)
ASSERTION = re.compile(r"^Assertion failed: .*?: (?=\S)")
UNSUPPORTED = re.compile(r'^false$|"Plugin not found|plugin creator version \d+ was not found')
FAR = 3  # so many nodes further a Q/DQ pair or a cast has reached the layer that it serves

OTHER_ANSWERS = re.compile(r"INT8 instead|was clamped")
"""Warnings with which the compiler goes on and computes something else than the model says."""

SYMMETRIC = (
    "quantize symmetrically: int8 with zero point 0 (`edgeproof quantize --target tensorrt`; in "
    "onnxruntime's quantize_static activation_type=QInt8 and extra_options={'ActivationSymmetric': True})"
)
ADVICE = (
    (
        re.compile(r"input has type Int32 but must have type"),
        "leave biases float (`edgeproof quantize --target tensorrt`; in onnxruntime's quantize_static "
        "extra_options={'QuantizeBias': False})",
    ),
    (re.compile(r"zero point is not supported|INT8 instead"), SYMMETRIC),
    (
        re.compile(r"Scale coefficients must all be positive"),
        "a scale is zero or negative, as a dead channel or a constant value gives it: calibrate again with a "
        "floor under the scales",
    ),
    (
        re.compile(r"operator (QLinear|ConvInteger|MatMulInteger|DynamicQuantize)"),
        "quantize to Q/DQ pairs with fixed scales (in onnxruntime quantize_static with quant_format=QDQ)",
    ),
    (
        re.compile(r"does not (support|know) the operator"),
        "write the module with operators of TensorRT's ONNX support matrix, and export again",
    ),
    (
        re.compile(r"Cannot compile operation"),
        "that GPU has no kernel for it: compute the node in float16, or leave this capability out",
    ),
    (
        re.compile(r"same input types|same types"),
        "types are never converted unasked: put a Cast before one of the node's inputs",
    ),
    (
        re.compile(r"violate shape constraints|reshaping failed|change volume|conformable"),
        "the graph holds shapes that this batch does not fit: export with a dynamic batch, or give the only "
        "size that it takes with --batch N,N,N",
    ),
    (
        re.compile(r"no optimization profile|missing dimensions"),
        "give each input sides of its own, dynamic in the batch only",
    ),
    (
        re.compile(r"not registered|INVALID_GRAPH"),
        "the graph is not valid ONNX: see what onnx.checker says of it",
    ),
    (
        re.compile(r"was clamped"),
        "a weight is beyond the range of its type: look at how it was made",
    ),
)
LAST_RESORT = (
    "look at this node: does onnx.checker accept it, and does TensorRT's ONNX support matrix name it?"
)


@dataclass(frozen=True)
class Refusal:
    """One reason why the compiler does not take a model.

    Attributes:
        node: operator, name and PyTorch module; empty where the compiler named no node.
        why: the compiler's own words, without its source locations.
        advice: what to do.
        capability: the compute capability that was refused; empty where it is the graph itself.
    """

    node: str
    why: str
    advice: str
    capability: str = ""

    def __str__(self) -> str:
        place = f"{self.node}: " if self.node else ""
        return f"{place}{self.why}" + (f" (SM{self.capability})" if self.capability else "")


def explain(problem: Mapping[str, Any], model: onnx.ModelProto, capability: str = "") -> Refusal:
    """What the compiler said of one problem, for people.

    Args:
        problem: `why`, and the node's `name` and `operator`, empty where unknown; from the parser also its
            `index` and a `code`.
        model: the graph.
        capability: the compute capability of the build; empty for what the parser says.
    """
    raw, operator = str(problem["why"]), str(problem["operator"])
    if UNSUPPORTED.search(raw) and operator:
        why = f"TensorRT does not support the operator {operator}"
    else:
        why = plain_words(raw).removeprefix(f"{problem['name']}: ")
        why = why or str(problem.get("code") or "the compiler gave no reason")
    node = find_node(model.graph.node, problem) or _named_in(model.graph.node, raw)
    place = _describe_with_neighbour(node, model.graph.node) if node else ""
    if not place and operator:
        place = f"{operator} {problem['name']!r}"
    return Refusal(place, why, advise(f"{why} {problem.get('code', '')}"), capability)


def plain_words(text: str) -> str:
    """The compiler's words without its source locations, and without driver errors: there need be no GPU."""
    lines = [ADDRESS.sub("", line).strip() for line in text.splitlines() if not NOISE.search(line)]
    return "; ".join(dict.fromkeys(ASSERTION.sub("", WRAPPING.sub(r"\1", line)) for line in lines if line))


def advise(why: str) -> str:
    """What to do about a reason."""
    return next((advice for pattern, advice in ADVICE if pattern.search(why)), LAST_RESORT)


def find_node(nodes: Sequence[onnx.NodeProto], problem: Mapping[str, Any]) -> onnx.NodeProto | None:
    """The node that the compiler means: by its place if name and operator agree, else by its name.

    A place alone is not enough: inside a subgraph or a function the compiler counts anew.
    """
    wanted = (problem["name"], problem["operator"])
    index = problem.get("index")
    if index is not None and 0 <= index < len(nodes) and (nodes[index].name, nodes[index].op_type) == wanted:
        return nodes[index]
    return next((node for node in nodes if node.name and (node.name, node.op_type) == wanted), None)


def _named_in(nodes: Sequence[onnx.NodeProto], text: str) -> onnx.NodeProto | None:
    """The node with the longest name that a message holds; the compiler numbers a node's further layers."""
    found = [
        node
        for node in nodes
        if node.name and re.search(rf"(?<![\w./]){re.escape(node.name)}(_\d+)?(?![\w/])", text)
    ]
    return max(found, key=lambda node: len(node.name), default=None)


def _describe_with_neighbour(node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> str:
    """A node, and where no PyTorch module is known for it, the first that uses its result and has one."""
    if module_path(node):
        return describe(node)
    reached = set(node.output)
    for _ in range(FAR):
        users = [user for user in nodes if reached & set(user.input)]
        for user in users:
            if module_path(user):
                return f"{describe(node)}, used by {describe(user)}"
        reached = {name for user in users for name in user.output}
    return describe(node)
