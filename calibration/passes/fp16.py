"""float32 to float16: half the bytes, and Tensor Cores, without overflow.

The graph keeps its float32 input and outputs; casts stand at the border of what stays float32. What
must stay is found by name: nodes that touch a value whose magnitude on real inputs comes near the
largest float16 (65504), and nodes that ONNX does not define for float16.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from ..onnx_graph.graph import (
    LAYERS,
    array_of,
    as_tensor,
    element_types,
    initializers,
    makers,
    opset,
    refuse_control_flow,
)
from ..qdq.half_scales import HALF_NORMAL, lift_scales
from ..ranges.statistics import Range
from .kept import name_of

HALF_MAX = float(np.finfo(np.float16).max)
HALF_TINY = float(np.finfo(np.float16).smallest_subnormal)
HEADROOM = 2.0  # other pictures may reach further than those that were measured
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}
TYPED_BY_ATTRIBUTE = {"Cast", "Constant", "ConstantOfShape"}
_WantedType = Callable[[int], int]


@dataclass(frozen=True)
class Fp16Result:
    """A float16 model, and the nodes that stay float32: name to reason."""

    model: onnx.ModelProto
    kept_float32: Mapping[str, str]


def convert_to_fp16(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> Fp16Result:
    """Convert a float32 model, or what is float32 in an INT8 one.

    Of such a mix ONNX Runtime's CPU provider makes nonsense unless its optimizer "WeightBiasQuantization" is
    off, and before version 1.30 even then: its QuantizeLinear truncates float16 where it should round.

    A layer that stays float32 keeps its Q/DQ pairs: they stand beside it in float32, without a cast between,
    so that the compiler still makes it an INT8 layer. Its weights' step sizes are those of `lift_scales`.

    Args:
        model: a float32 model; or one with Q/DQ pairs, which may stand between float16 values from opset
            19 on and stay float32 before.
        ranges: the range of its values on real inputs, from `collect_ranges`.

    Raises:
        ModelError: the graph has control flow, or a type that cannot be inferred.
    """
    refuse_control_flow(model, "float16 conversion")
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    lift_scales(halved)
    reasons = _reasons_to_keep(halved, ranges)
    kept = {name_of(node): reason for node, reason in zip(halved.graph.node, reasons, strict=True) if reason}
    _Converter(halved, [bool(reason) for reason in reasons]).convert()
    return Fp16Result(halved, kept)


def _reasons_to_keep(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> list[str]:
    """Why each node stays float32; empty for one that does not."""
    weights, version, made_by = initializers(model), opset(model), makers(model)
    reached = dict(ranges)
    reasons: list[str] = []
    float32_pairs: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in made_by:
            quantized = made_by[node.input[0]].input[0]
            if quantized in ranges:
                reached[node.output[0]] = ranges[quantized]
        reason = _reason_to_keep(node, reached, weights, version)
        paired = next((name for name in node.input if name in float32_pairs), "")
        if not reason and paired and node.op_type in LAYERS:
            reason = f"{paired}, which it reads, is float32"
        if reason and node.op_type == "DequantizeLinear":
            float32_pairs.add(node.output[0])
        reasons.append(reason)
    return reasons


def _reason_to_keep(
    node: NodeProto, ranges: Mapping[str, Range], weights: Mapping[str, TensorProto], version: int
) -> str:
    for name in (*node.input, *node.output):
        if name in ranges and ranges[name].absmax * HEADROOM > HALF_MAX:
            return f"{name} reaches {ranges[name].absmax:.3g}"
    if node.op_type in QUANTIZERS and node.input[1] in weights:
        smallest = float(array_of(weights[node.input[1]]).min(initial=np.inf))
        if smallest < HALF_NORMAL:
            return f"its scale {node.input[1]} would lose digits: its smallest element is {smallest:.3g}"
    for name in node.input:
        tensor = weights.get(name)
        if tensor is not None and tensor.data_type == TensorProto.FLOAT:
            largest = float(np.abs(array_of(tensor)).max(initial=0))
            if largest > HALF_MAX:
                return f"its weight {name} reaches {largest:.3g}"
            if 0 < largest < HALF_TINY:
                return f"its weight {name} would vanish: its largest element is {largest:.3g}"
    if not _defined_for_half(node, version):
        return f"{node.op_type} is not defined for float16"
    return ""


def _defined_for_half(node: NodeProto, version: int) -> bool:
    """Whether every float output of the operator may be float16, by ONNX's own schema."""
    if node.op_type in TYPED_BY_ATTRIBUTE:
        return True
    if any(attribute.name == "dtype" for attribute in node.attribute):
        return False
    try:
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return False
    return all(
        _allows_half(schema, schema.outputs[min(i, len(schema.outputs) - 1)]) for i in range(len(node.output))
    )


def _allows_half(schema: onnx.defs.OpSchema, parameter: onnx.defs.OpSchema.FormalParameter) -> bool:
    """Whether a parameter may be float16, or is not a float at all."""
    allowed = {
        kind
        for constraint in schema.type_constraints
        if constraint.type_param_str == parameter.type_str
        for kind in constraint.allowed_type_strs
    } or {parameter.type_str}
    return "tensor(float16)" in allowed or "tensor(float)" not in allowed


class _Converter:
    """One walk over the graph in topological order, casting where float32 and float16 meet."""

    def __init__(self, model: onnx.ModelProto, kept: list[bool]) -> None:
        self._graph = model.graph
        self._version = opset(model)
        self._kept = kept
        self._types = element_types(model)
        self._dequantizers: dict[str, NodeProto] = {}  # as they were, by the value that they put out
        self._weights = initializers(model)
        self._half: set[str] = set()  # values that are float16 now
        self._twins: dict[tuple[str, int], str] = {}  # (value, wanted type) -> its name in that type
        self._nodes: list[NodeProto] = []
        self._new_weights: list[TensorProto] = []
        self._outputs = {output.name for output in self._graph.output}

    def convert(self) -> None:
        for node, kept in zip(self._graph.node, self._kept, strict=True):
            if kept:
                self._rewire(node, lambda _: TensorProto.FLOAT)
                self._nodes.append(node)
            else:
                self._convert_node(node)
        self._finish()

    def _convert_node(self, node: NodeProto) -> None:
        if node.op_type == "DequantizeLinear":
            self._dequantizers[node.output[0]] = NodeProto.FromString(node.SerializeToString())
        wants = self._wanted_types(node)
        self._rewire(node, lambda index: wants[index])
        self._nodes.append(node)
        _retype_attributes(node)
        for index, name in enumerate(node.output):
            if self._types.get(name) != TensorProto.FLOAT:
                continue
            if name in self._outputs:
                node.output[index] = f"{name}.float16"
                self._twins[name, TensorProto.FLOAT16] = node.output[index]
                self._nodes.append(_cast(node.output[index], name, TensorProto.FLOAT))
            else:
                self._half.add(name)

    def _wanted_types(self, node: NodeProto) -> list[int]:
        """float16 for each input, float32 where nothing else is defined (the scales of Resize)."""
        schema = onnx.defs.get_schema(node.op_type, self._version, node.domain)
        parameters = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(node.input))]
        return [TensorProto.FLOAT16 if _allows_half(schema, p) else TensorProto.FLOAT for p in parameters]

    def _rewire(self, node: NodeProto, wanted: _WantedType) -> None:
        for index, name in enumerate(node.input):
            if name and self._types.get(name) == TensorProto.FLOAT:
                node.input[index] = self._as_type(name, wanted(index))

    def _as_type(self, name: str, wanted: int) -> str:
        current = TensorProto.FLOAT16 if name in self._half else TensorProto.FLOAT
        if current == wanted:
            return name
        if (name, wanted) not in self._twins:
            suffix = "float16" if wanted == TensorProto.FLOAT16 else "float32"
            twin = f"{name}.{suffix}"
            if name in self._weights:
                self._new_weights.append(as_tensor(twin, array_of(self._weights[name]).astype(np.float16)))
            elif name in self._dequantizers:
                self._nodes.append(_renamed(self._dequantizers[name], twin))
            else:
                self._nodes.append(_cast(name, twin, wanted))
            self._twins[name, wanted] = twin
        return self._twins[name, wanted]

    def _finish(self) -> None:
        read = {name for node in self._nodes for name in node.input} | self._outputs
        self._nodes = [node for node in self._nodes if not _replaced(node, read)]
        used = {name for node in self._nodes for name in node.input} | self._outputs
        weights = [tensor for tensor in (*self._graph.initializer, *self._new_weights) if tensor.name in used]
        infos = [info for info in self._graph.value_info if info.name in used]
        for info in infos:
            if info.name in self._half:
                info.type.tensor_type.elem_type = TensorProto.FLOAT16
        for field, entries in (("node", self._nodes), ("initializer", weights), ("value_info", infos)):
            copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
            self._graph.ClearField(field)
            getattr(self._graph, field).extend(copies)


def _retype_attributes(node: NodeProto) -> None:
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(helper.make_attribute("value", as_tensor("", np.zeros(1, np.float16))))
    for attribute in node.attribute:
        if attribute.name == "to" and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(as_tensor(attribute.t.name, array_of(attribute.t).astype(np.float16)))
        elif attribute.name in ("value_float", "value_floats") and node.op_type == "Constant":
            values = np.array(helper.get_attribute_value(attribute), np.float16)
            attribute.CopyFrom(helper.make_attribute("value", as_tensor("", values)))


def _replaced(node: NodeProto, read: Collection[str]) -> bool:
    """Whether only the node's float32 twin is read."""
    return node.op_type == "DequantizeLinear" and node.output[0] not in read


def _renamed(node: NodeProto, output: str) -> NodeProto:
    copy = NodeProto.FromString(node.SerializeToString())
    copy.name, copy.output[0] = f"{node.name}/{output}", output
    return copy


def _cast(source: str, target: str, wanted: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast/{target}", to=wanted)
