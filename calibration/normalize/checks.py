"""What a model must be before it can be quantized."""

from __future__ import annotations

import numpy as np
import onnx

from ...runtime.errors import ModelError
from ..onnx_graph.graph import array_of, describe, initializers, opset, refuse_control_flow

FIRST_PER_CHANNEL_OPSET = 13
QUANTIZED = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
    "QGemm",
    "QAttention",
}


def require_quantizable(model: onnx.ModelProto) -> None:
    """Refuse what no quantizer can treat.

    Raises:
        ModelError: there is control flow, an operator is quantized already, the model has not exactly one
            input, or a weight holds NaN or Inf.
    """
    refuse_control_flow(model, "quantization")
    _refuse_quantized(model)
    _refuse_several_inputs(model)
    _refuse_non_finite_weights(model)


def require_per_channel(model: onnx.ModelProto) -> None:
    """Refuse an opset whose QuantizeLinear knows one scale a tensor only.

    Raises:
        ModelError: the opset is older than 13.
    """
    if opset(model) < FIRST_PER_CHANNEL_OPSET:
        raise ModelError(
            "The model's opset has no per-channel QuantizeLinear.",
            wanted=f"opset {FIRST_PER_CHANNEL_OPSET} or later",
            got=f"opset {opset(model)}",
            todo="export the model again at a later opset",
        )


def _refuse_quantized(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise ModelError(
                f"The model is quantized already: it holds {describe(node)}.",
                wanted="a float model",
                todo="quantize the float model that it was made from",
            )


def _refuse_several_inputs(model: onnx.ModelProto) -> None:
    weights = initializers(model)
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ModelError(
            "The model must have exactly one input: the images.",
            got=", ".join(inputs) or "none",
            todo="make the others constants, or export the model without them",
        )


def _refuse_non_finite_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        values = array_of(tensor)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            readers = [describe(node) for node in model.graph.node if tensor.name in node.input]
            raise ModelError(
                f"The weight {tensor.name!r} holds NaN or Inf.",
                got=f"{int((~np.isfinite(values)).sum())} of {values.size} values, read by "
                + (readers[0] if readers else "no node"),
                todo="train or export the model again: its answers mean nothing",
            )
