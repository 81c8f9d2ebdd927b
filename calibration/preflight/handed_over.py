"""The graph that TensorRT is handed on the device: ONNX Runtime rewrites the model's before it asks TensorRT.

What was proven must be what is compiled. So the rewritten graph is compared with the model's, pair by pair,
and compiled too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from ...runtime.errors import ModelError, ProofError
from ...runtime.session.options import handed_over
from ...runtime.session.session import load_onnxruntime
from ..onnx_graph.graph import element_types, initializers
from ..onnx_graph.read import parse_onnx
from .check import PreflightRequest, PreflightResult, preflight

GROWTH = 1.05  # times its own size, from which on an engine is said to have grown
CPU_CAST = "InsertedPrecisionFreeCast_"  # how ONNX Runtime names them
INTEGERS = (TensorProto.INT8, TensorProto.UINT8)
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True)
class HandedOver:
    """The compiler's word on the graph that it is handed on the device; true if it is as good as the model.

    Attributes:
        result: of the rewritten graph; None where ONNX Runtime does not accept the model here.
        lost: what of the quantization is no longer there.
        growth: length of its engine over that of the model's own engine.
        problem: why there is no such graph.
    """

    result: PreflightResult | None
    lost: tuple[str, ...] = ()
    growth: float = 1.0
    problem: str = ""

    def __bool__(self) -> bool:
        return not self.lost and (self.result is None or bool(self.result))

    def __str__(self) -> str:
        if self.result is None:
            return f"not compiled as ONNX Runtime hands it over: {self.problem}"
        if self.lost:
            return f"ONNX Runtime loses quantization before TensorRT sees the graph: {', '.join(self.lost)}"
        if not self.result:
            return f"as ONNX Runtime hands it over: {self.result}"
        size = f"its engine grows to {self.growth:.2f} times" if self.growth > GROWTH else "no larger engine"
        return f"as ONNX Runtime hands it over: accepted too, {size}"

    def require(self, name: str) -> None:
        """Stop unless what TensorRT is handed is as good as the model.

        Args:
            name: what to call the model in the message.

        Raises:
            ProofError: quantization is lost on the way, or the rewritten graph was refused.
        """
        if not self:
            raise ProofError(
                f"On the device TensorRT would be handed another graph than the {name} model.",
                wanted="every Q/DQ pair of the model, and integer weights",
                got=str(self),
                todo="report the model; another onnxruntime may do better",
            )


def preflight_handed_over(
    model: bytes, own: PreflightResult, request: PreflightRequest | None = None
) -> HandedOver:
    """Compile the graph that ONNX Runtime makes of a model before TensorRT sees it.

    Args:
        model: a serialized ONNX model.
        own: what the compiler said of the model as it is.
        request: what that was built for.

    Raises:
        MissingDependency: the compiler is not installed.
    """
    try:
        rewritten = parse_onnx(handed_over(load_onnxruntime(), model), "The rewritten graph")
    except ModelError as error:
        return HandedOver(None, problem=error.message.splitlines()[0])
    original = parse_onnx(model, "This model")
    lost = lost_quantization(original, rewritten)
    result = preflight(without_cpu_casts(rewritten, original).SerializeToString(), request)
    before, after = max(own.engine_bytes.values(), default=0), max(result.engine_bytes.values(), default=0)
    return HandedOver(result, lost, after / before if before else 1.0)


def without_cpu_casts(rewritten: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """The rewritten graph as it is on a GPU.

    The CPU provider, which stands in here, computes float16 in float32 between casts of its own, and lets
    some of these cancel the model's. The former are taken out, and the latter put back.

    Args:
        rewritten: what ONNX Runtime made of the model.
        model: as it was, which knows the type of every value.
    """
    nodes = [node for node in rewritten.graph.node if not node.name.startswith(CPU_CAST)]
    casts = [node for node in rewritten.graph.node if node.name.startswith(CPU_CAST)]
    sources = {node.output[0]: node.input[0] for node in casts}
    known, constants = element_types(model), initializers(rewritten)
    # Of operators that ONNX Runtime puts together from others, such as Gelu: in float32, as it computes them.
    added = {name: value.data_type for name, value in constants.items() if name not in known}
    types = {**_types_on_gpu(nodes, known), **added}
    twins: dict[tuple[str, int], str] = {}
    mended: list[onnx.NodeProto] = []
    for original in nodes:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        wanted = _computed_in(node, types)
        for i, named in enumerate(original.input):
            name = node.input[i] = _source(named, sources)
            kind = types.get(named.removeprefix(CPU_CAST))
            if named != name:  # a cast of the CPU's may have taken in one of the model's, even of a bool
                kind = types.get(name, kind)
            fixed = name in constants and name not in added  # as Resize's scales, of any float type
            if wanted and kind != wanted and (kind in FLOATS or named != name) and not fixed:
                if (name, wanted) not in twins:
                    twins[name, wanted] = f"{name}.as_{TensorProto.DataType.Name(wanted).lower()}"
                    mended.append(onnx.helper.make_node("Cast", [name], [twins[name, wanted]], to=wanted))
                node.input[i] = twins[name, wanted]
        mended.append(node)
    found = onnx.ModelProto()
    found.CopyFrom(rewritten)
    found.graph.ClearField("node")
    found.graph.node.extend(mended)
    found.graph.ClearField("value_info")  # types that no longer hold
    return found


def _types_on_gpu(nodes: Sequence[onnx.NodeProto], of_model: Mapping[str, int]) -> dict[str, int]:
    """Element type of each value, where what ONNX Runtime put in has that of the value it leads to.

    A DequantizeLinear that it doubled has that of its scale, as any.
    """
    types = dict(of_model)
    for node in nodes:
        scale = (
            types.get(node.input[1].removeprefix(CPU_CAST)) if node.op_type == "DequantizeLinear" else None
        )
        if scale:
            types.setdefault(node.output[0].removeprefix(CPU_CAST), scale)
    for node in reversed(nodes):
        wanted = _computed_in(node, types)
        for name in node.input:
            if wanted:
                types.setdefault(name.removeprefix(CPU_CAST), wanted)
    return types


def _computed_in(node: onnx.NodeProto, types: Mapping[str, int]) -> int | None:
    """The float type that a node computes in: its outputs', or float16 where it turns that into integers."""
    if node.op_type == "Cast":
        return None
    inputs, outputs = (
        [types.get(name.removeprefix(CPU_CAST)) for name in names] for names in (node.input, node.output)
    )
    half = TensorProto.FLOAT16 if TensorProto.FLOAT16 in inputs else None
    return next((kind for kind in outputs if kind in FLOATS), half)


def _source(name: str, sources: Mapping[str, str]) -> str:
    while name in sources:
        name = sources[name]
    return name


def lost_quantization(model: onnx.ModelProto, rewritten: onnx.ModelProto) -> tuple[str, ...]:
    """What a rewritten graph no longer has of a model's quantization, in words; empty if it has all.

    It may have more: ONNX Runtime gives each reader of a value a DequantizeLinear of its own.
    """
    lost = []
    had, has = _counts(model), _counts(rewritten)
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        if has[kind] < had[kind]:
            lost.append(f"{had[kind] - has[kind]} of {had[kind]} {kind}")
    gone = sorted(_integer_weights(model) - _integer_weights(rewritten))
    if gone:
        lost.append(f"{len(gone)} integer weights, such as {gone[0]}")
    return tuple(lost)


def _counts(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def _integer_weights(model: onnx.ModelProto) -> set[str]:
    """Names of the integer initializers that a DequantizeLinear reads."""
    weights = initializers(model)
    read = {node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {name for name in read if name in weights and weights[name].data_type in INTEGERS}
