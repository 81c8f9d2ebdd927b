"""Bringing any ONNX model into the one form that the other stages take.

That form: a current opset, weights that are initializers and that one node each reads, no batch norm after a
convolution, fully connected layers as Gemm, hard-swish in one piece, nothing that computes only constants,
and a known type and shape, as far as it can be inferred, for every value. Its outputs are those of the model
that came in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import onnx.inliner
from google.protobuf.message import Message
from onnx import NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ...runtime.errors import ModelError, gist
from ..onnx_graph.graph import LAYERS, as_tensor, describe, initializers, opset
from .checks import require_quantizable
from .fusion import fold_batch_norms, fuse_matmul_add, take_in_biases
from .hard_activations import join_hard_activations

OLDEST_OPSET = 19  # the first whose Q/DQ pairs may stand between float16 values
NEWEST_OPSET = 26  # of ONNX Runtime 1.31
DEFAULT_DOMAINS = ("", "ai.onnx")
NOT_CONSTANT = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}


def normalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network in the form that calibration, recovery and the writers of INT8 graphs take.

    Dynamic axes stay dynamic and fixed ones fixed; what stands before the first convolution (a Cast from
    uint8, a Transpose from NHWC) and after the last (a Softmax) stays.

    Args:
        model: a float model, with its weights inside.

    Raises:
        ModelError: it is not valid, `require_quantizable` refuses it, or its opset cannot be raised.
    """
    normal = onnx.ModelProto()
    normal.CopyFrom(model)
    _check(normal, "The model is not valid ONNX.")
    normal = onnx.inliner.inline_local_functions(normal) if normal.functions else normal
    _drop_overridable_inputs(normal)
    require_quantizable(normal)
    normal = _with_current_opset(normal)
    for step in STEPS:
        step(normal)
    require_quantizable(normal)
    normal = onnx.shape_inference.infer_shapes(normal, data_prop=True)
    _check(normal, "The normalized model is not valid ONNX.")
    return normal


def _drop_overridable_inputs(model: onnx.ModelProto) -> None:
    """Take weights for constants although they are listed as inputs, as IR versions before 4 demand."""
    weights = initializers(model)
    inputs = [value for value in model.graph.input if value.name not in weights]
    _set(model.graph.input, inputs)
    model.ir_version = max(model.ir_version, 4)


def _with_current_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    version = opset(model)
    if version > NEWEST_OPSET:
        raise ModelError(
            "The model's opset is newer than ONNX Runtime takes.",
            wanted=f"opset {NEWEST_OPSET} or earlier",
            got=f"opset {version}",
            todo="export the model again at an earlier opset",
        )
    if version >= OLDEST_OPSET:
        return model
    try:
        raised = onnx.version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:  # the converter raises plain RuntimeError
        raise ModelError(
            f"The model's opset {version} cannot be raised to {OLDEST_OPSET}.",
            got=gist(error),
            todo=f"export the model again at opset {OLDEST_OPSET} or later",
        ) from error
    raised.ir_version = max(
        raised.ir_version, helper.find_min_ir_version_for(raised.opset_import, ignore_unknown=True)
    )
    return raised


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Drop what older tools recorded, which may no longer hold; it is inferred again at the end."""
    model.graph.ClearField("value_info")


def _fold_constants(model: onnx.ModelProto) -> None:
    """Make initializers of what nodes compute from constants alone, Constant nodes included."""
    known = set(initializers(model))
    constant, rest = list[NodeProto](), list[NodeProto]()
    for node in model.graph.node:
        if node.domain in DEFAULT_DOMAINS and node.op_type not in NOT_CONSTANT and _reads_only(node, known):
            constant.append(node)
            known.update(node.output)
        else:
            rest.append(node)
    wanted = {name for node in rest for name in node.input} | {output.name for output in model.graph.output}
    names = [name for node in constant for name in node.output if name and name in wanted]
    if not constant:
        return
    graph = helper.make_graph(
        constant,
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in names],
        _read_by(constant, initializers(model)),
    )
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        with np.errstate(all="ignore"):  # NaN and Inf are found by name afterwards
            values = ReferenceEvaluator(part).run(None, {})
    except Exception as error:  # numpy's errors, and those of operators that the evaluator lacks
        raise ModelError(
            "What the model computes from constants cannot be computed.",
            got=f"{describe(constant[-1])}: {gist(error)}",
            todo="simplify the model first, with onnxsim for example",
        ) from error
    model.graph.initializer.extend(
        as_tensor(name, np.asarray(value)) for name, value in zip(names, values, strict=True)
    )
    _set(model.graph.node, rest)


def _bypass_identities(model: onnx.ModelProto) -> None:
    """Take out Identity, and Dropout in inference; one that makes an output of the graph stays."""
    outputs = {output.name for output in model.graph.output}
    read = {name for node in model.graph.node for name in node.input} | outputs
    sources: dict[str, str] = {}
    kept = list[NodeProto]()
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = sources.get(name, name)
        if _does_nothing(node, read) and node.output[0] not in outputs:
            sources[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    _set(model.graph.node, kept)


def _does_nothing(node: NodeProto, read: Collection[str]) -> bool:
    if node.op_type == "Dropout":
        training = len(node.input) > 2 and node.input[2]
        return not training and not any(mask in read for mask in node.output[1:])
    return node.op_type == "Identity"


def _untie_weights(model: onnx.ModelProto) -> None:
    """Give each Conv, Gemm and MatMul weights of its own, which the stages may then change one by one."""
    weights, taken = initializers(model), set[str]()
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name in weights and name in taken and node.op_type in LAYERS:
                copy = TensorProto.FromString(weights[name].SerializeToString())
                copy.name = node.input[i] = f"{name}.{node.output[0]}"
                model.graph.initializer.append(copy)
            taken.add(name)


def _drop_unused(model: onnx.ModelProto) -> None:
    """Drop the nodes and initializers that no output needs."""
    wanted = {output.name for output in model.graph.output}
    kept = list[NodeProto]()
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    _set(model.graph.node, kept[::-1])
    _set(model.graph.initializer, [tensor for tensor in model.graph.initializer if tensor.name in wanted])


def _reads_only(node: NodeProto, known: Collection[str]) -> bool:
    return all(name in known for name in node.input if name)


def _read_by(nodes: Iterable[NodeProto], weights: dict[str, TensorProto]) -> list[TensorProto]:
    names = {name for node in nodes for name in node.input}
    return [tensor for name, tensor in weights.items() if name in names]


def _set(field: Any, entries: Iterable[Message]) -> None:
    """Replace the entries of a repeated field by some that may be its own."""
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del field[:]
    field.extend(copies)


def _check(model: onnx.ModelProto, message: str) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(message, got=gist(error), todo="export the model again") from error


STEPS: tuple[Callable[[onnx.ModelProto], None], ...] = (
    _forget_shapes,
    _fold_constants,
    _bypass_identities,
    fuse_matmul_add,
    take_in_biases,
    fold_batch_norms,
    join_hard_activations,
    _untie_weights,
    _drop_unused,
)
