"""Reading an ONNX graph: who is who, and of which type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ...runtime.errors import ModelError

NO_LIMIT = float(np.finfo(np.float32).max)  # as which older exporters write that a Clip has no limit
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # operators whose second input is weights
NAME_SCOPES = "pkg.torch.onnx.name_scopes"  # metadata of a node: the modules around it, outermost first
SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)


def opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set; 0 if the model imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def initializers(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """All initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """An initializer's values."""
    return numpy_helper.to_array(tensor)


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type (a TensorProto.DataType) of every value of the graph, inferred where not recorded.

    Raises:
        ModelError: the type of a value cannot be inferred.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        types[info.name] = info.type.tensor_type.elem_type
    for node in inferred.node:
        for name in filter(None, node.output):
            if not types.get(name):
                raise ModelError(
                    f"The type of {name!r}, an output of {node.op_type} {node.name!r}, cannot be inferred.",
                    todo="simplify the model first, or export it with shape information",
                )
    return types


def float_values(model: onnx.ModelProto) -> list[str]:
    """Names of all float32 values that nodes produce, in the order of the graph."""
    types = element_types(model)
    return [name for node in model.graph.node for name in node.output if types.get(name) == TensorProto.FLOAT]


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each value, by the value's name."""
    return {name: node for node in model.graph.node for name in node.output}


def reader_counts(model: onnx.ModelProto) -> Counter[str]:
    """How many read each value; to be an output of the graph counts."""
    names = [name for node in model.graph.node for name in node.input]
    return Counter([*names, *(output.name for output in model.graph.output)])


def groups_of(node: onnx.NodeProto) -> int:
    """Number of groups of a convolution."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def activation_limits(node: onnx.NodeProto, weights: Mapping[str, TensorProto]) -> tuple[float, float] | None:
    """The lower and the upper limit that a Relu or a Clip sets, infinite where it sets none.

    None for other operators, and where a limit is not a constant: nothing is then known of it.

    Args:
        node: a node; a Clip of opset 11 or later, whose limits are inputs.
        weights: the graph's initializers by name.
    """
    if node.op_type == "Relu":
        return 0.0, np.inf
    computed = any(name and name not in weights for name in node.input[1:3])
    if node.op_type != "Clip" or node.attribute or computed:
        return None
    limits = [-np.inf, np.inf]
    for i, name in enumerate(node.input[1:3]):
        if name:
            given = float(array_of(weights[name]))
            limits[i] = given if abs(given) < NO_LIMIT else float(np.copysign(np.inf, given))
    return limits[0], limits[1]


def refuse_control_flow(model: onnx.ModelProto, stage: str) -> None:
    """Raise ModelError if a node holds subgraphs, whose values the rewriting stages do not follow."""
    for node in model.graph.node:
        if any(attribute.type in SUBGRAPHS for attribute in node.attribute):
            raise ModelError(
                f"The graph has control flow ({describe(node)}), which {stage} does not follow.",
                todo="export the model without control flow",
            )


def expose(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model that also outputs the named values.

    Raises:
        ModelError: a value is not in the graph, or its type cannot be inferred.
    """
    types = element_types(model)
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {output.name for output in exposed.graph.output}
    for name in names:
        if name not in types:
            raise ModelError(f"The graph has no value named {name!r}.")
        if name not in present:
            exposed.graph.output.append(onnx.helper.make_tensor_value_info(name, types[name], None))
    return exposed


def describe(node: onnx.NodeProto) -> str:
    """A node for people: operator, name, and the PyTorch module that it came from, where known."""
    module = module_path(node)
    return f"{node.op_type} {node.name!r}" + (f", PyTorch module {module!r}" if module else "")


def module_path(node: onnx.NodeProto) -> str:
    """Path of the PyTorch module that torch.onnx.export recorded for a node; empty where it did not."""
    properties: Mapping[str, str] = {entry.key: entry.value for entry in node.metadata_props}
    scopes = properties.get(NAME_SCOPES, "")
    names = [name.strip(" '\"") for name in scopes.strip("[]").split(",")]
    return names[-2] if len(names) >= 2 else ""


def as_tensor(name: str, values: NDArray[Any]) -> TensorProto:
    """An initializer with the given values."""
    return numpy_helper.from_array(np.asarray(values, order="C"), name)
