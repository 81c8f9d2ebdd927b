"""Joining operators into one: batch norm into its convolution, MatMul and Add into Gemm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..onnx_graph.graph import array_of, as_tensor, groups_of, initializers, makers, reader_counts
from ..onnx_graph.shapes import inferred_shapes

BATCH_NORM_EPSILON = 1e-5  # what ONNX takes where none is given

_Floats = NDArray[np.float64]


def fuse_matmul_add(model: onnx.ModelProto) -> None:
    """Write each product of a matrix with constants, and the constants added to it, as one Gemm, in place."""
    weights, known, readers = initializers(model), inferred_shapes(model), reader_counts(model)
    fused, made_by = dict[str, NodeProto](), makers(model)
    for add in model.graph.node:
        if add.op_type != "Add":
            continue
        for product, bias in (add.input, reversed(add.input)):
            maker = made_by.get(product)
            if maker is None or maker.op_type != "MatMul" or readers[product] != 1 or bias not in weights:
                continue
            matrix = weights.get(maker.input[1])
            if matrix is None or len(matrix.dims) != 2 or len(known.get(maker.input[0], ())) != 2:
                continue
            if list(weights[bias].dims) in ([matrix.dims[1]], [1, matrix.dims[1]]):
                fused[product] = helper.make_node(
                    "Gemm", [*maker.input, bias], [add.output[0]], name=maker.name
                )
                fused[product].metadata_props.extend(maker.metadata_props)
                break
    _replace(model, fused)


def take_in_biases(model: onnx.ModelProto) -> None:
    """Make the bias of a Conv or ConvTranspose without one of the constants added to its channels, in place.

    Paddle writes a transposed convolution's bias so, between it and its batch norm.
    """
    weights, readers, made_by = initializers(model), reader_counts(model), makers(model)
    fused = dict[str, NodeProto]()
    for add in model.graph.node:
        for source, bias in (add.input, reversed(add.input)) if add.op_type == "Add" else ():
            product = made_by.get(source)
            if product is None or product.op_type not in ("Conv", "ConvTranspose") or readers[source] != 1:
                continue
            matrix = weights.get(product.input[1])
            if bias not in weights or len(product.input) != 2 or matrix is None:
                continue
            channels, values = _channels(product, matrix), array_of(weights[bias])
            places = len(matrix.dims) - 2
            if values.ndim == places + 2 and values.shape[0] == 1:
                values = values[0]
            if values.shape != (channels, *[1] * places):
                continue
            name = f"{add.output[0]}.bias"
            model.graph.initializer.append(as_tensor(name, values.reshape(-1)))
            fused[source] = NodeProto.FromString(product.SerializeToString())
            fused[source].input.append(name)
            fused[source].output[0] = add.output[0]
            break
    _replace(model, fused)


def _channels(product: NodeProto, matrix: TensorProto) -> int:
    """Output channels of a Conv or ConvTranspose."""
    if product.op_type == "Conv":
        return matrix.dims[0]
    groups = groups_of(product)
    return matrix.dims[1] * groups


def fold_batch_norms(model: onnx.ModelProto) -> None:
    """Fold each batch norm into the Conv, ConvTranspose or Gemm before it, where it alone reads that.

    The weights must be constants. In inference a batch norm is an affine map of each channel (Ioffe and
    Szegedy, "Batch Normalization", arXiv 1502.03167). The arithmetic is done in float64, in place of the
    nodes, but not of the weights, which others may read too.
    """
    weights, readers, made_by = initializers(model), reader_counts(model), makers(model)
    fused = dict[str, NodeProto]()
    for norm in model.graph.node:
        source = norm.input[0] if norm.input else ""
        product = made_by.get(source)
        if norm.op_type != "BatchNormalization" or product is None or readers[source] != 1:
            continue
        if not _can_fold(product, norm, weights):
            continue
        values = _folded(product, norm, weights)
        names = [f"{norm.output[0]}.weight", f"{norm.output[0]}.bias"]
        for name, array in zip(names, values, strict=True):
            model.graph.initializer.append(as_tensor(name, array.astype(np.float32)))
        fused[source] = NodeProto.FromString(product.SerializeToString())
        fused[source].input[1:] = names
        fused[source].output[0] = norm.output[0]
    _replace(model, fused)


def _can_fold(product: NodeProto, norm: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    if (
        product.op_type not in ("Conv", "ConvTranspose", "Gemm")
        or len([name for name in norm.output if name]) != 1
    ):
        return False
    attributes = {attribute.name: attribute for attribute in (*product.attribute, *norm.attribute)}
    plain = all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
    grouped = product.op_type == "ConvTranspose" and "group" in attributes and attributes["group"].i != 1
    if grouped:
        return False
    training = "training_mode" in attributes and attributes["training_mode"].i
    if training or not plain or not all(name in weights for name in (*product.input[1:], *norm.input[1:])):
        return False
    matrix, channels = weights[product.input[1]], weights[norm.input[1]].dims[0]
    biases = [list(weights[name].dims) for name in product.input[2:]]
    return matrix.dims[_output_axis(product)] == channels and all(dims == [channels] for dims in biases)


def _folded(
    product: NodeProto, norm: NodeProto, weights: Mapping[str, TensorProto]
) -> tuple[_Floats, _Floats]:
    scale, shift, mean, variance = (array_of(weights[name]).astype(np.float64) for name in norm.input[1:])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), BATCH_NORM_EPSILON)
    with np.errstate(invalid="ignore"):  # `normalize` finds NaN by name afterwards
        factor = scale / np.sqrt(variance + epsilon)
    weight = array_of(weights[product.input[1]]).astype(np.float64)
    axis = _output_axis(product)
    bias = array_of(weights[product.input[2]]) if len(product.input) > 2 else np.zeros(len(factor))
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    return weight * factor.reshape(shape), (bias - mean) * factor + shift


def _output_axis(product: NodeProto) -> int:
    """The weight's output-channel axis of a Conv, a ConvTranspose of one group or a Gemm."""
    transposed = any(a.name == "transB" and a.i for a in product.attribute)
    return 0 if product.op_type == "Conv" or transposed else 1


def _replace(model: onnx.ModelProto, fused: Mapping[str, NodeProto]) -> None:
    """Put each fused node in the place of the node whose output is its key, and drop what it took in."""
    taken_in = {node.output[0] for node in fused.values()}
    nodes = [
        NodeProto.FromString(fused.get(node.output[0], node).SerializeToString())
        for node in model.graph.node
        if node.output[0] not in taken_in
    ]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
