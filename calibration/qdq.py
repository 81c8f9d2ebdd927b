"""float32 to INT8 in the form that TensorRT takes: Q/DQ pairs around float operators.

Weights are symmetric per output channel, activations symmetric per tensor (zero point 0), and biases
stay float: TensorRT refuses the int32 bias that ONNX Runtime's own tool writes. The scheme is that of
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (arXiv 1712.05877), without zero points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ..runtime.errors import ModelError
from .artifact import OnnxArtifact
from .collect import Range
from .graph import array_of, as_tensor, initializers, opset, refuse_control_flow

QMAX = 127
FIRST_PER_CHANNEL_OPSET = 13
MIN_SCALE = 1e-9  # a dead channel or a constant tensor still needs a scale that can be divided by


def quantize_qdq(artifact: OnnxArtifact, ranges: Mapping[str, Range]) -> OnnxArtifact:
    """Quantize every Conv, Gemm and MatMul whose weights (a matrix, for MatMul) are an initializer.

    Args:
        artifact: a float32 model, opset 13 or later.
        ranges: the range of each value on real inputs, from `collect_ranges`.

    Raises:
        ModelError: the opset has no per-channel Q/DQ, the graph has control flow, or nothing can be
            quantized.
    """
    model = onnx.ModelProto()
    model.CopyFrom(artifact.model)
    refuse_control_flow(model, "INT8 quantization")
    if opset(model) < FIRST_PER_CHANNEL_OPSET:
        raise ModelError(
            "The model's opset has no per-channel QuantizeLinear.",
            wanted=f"opset {FIRST_PER_CHANNEL_OPSET} or later",
            got=f"opset {opset(model)}",
            todo="export the model again at a later opset",
        )
    writer = _QdqWriter(model, ranges)
    for node in artifact.model.graph.node:
        writer.add(node)
    if not writer.quantized:
        raise ModelError(
            "The model has no Conv, Gemm or MatMul to quantize: none has an initializer as weights."
        )
    writer.finish()
    return artifact.derive(model, "int8", "int8")


class _QdqWriter:
    """Copies nodes one by one, putting Q/DQ before those that can compute in INT8."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, Range]) -> None:
        self._graph = model.graph
        self._ranges = ranges
        self._weights = initializers(model)
        self._nodes: list[NodeProto] = []
        self._new: dict[str, TensorProto] = {}
        self._dequantized: dict[str, str] = {}
        self.quantized = 0

    def add(self, node: NodeProto) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        axis = self._channel_axis(node)
        if axis is not None:
            copy.input[0] = self._quantized_activation(node.input[0])
            copy.input[1] = self._quantized_weight(node.input[1], axis)
            self.quantized += 1
        self._nodes.append(copy)

    def finish(self) -> None:
        used = {name for node in self._nodes for name in node.input}
        used |= {output.name for output in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        self._graph.ClearField("initializer")
        self._graph.initializer.extend([*copies, *self._new.values()])
        self._graph.ClearField("node")
        self._graph.node.extend(self._nodes)

    def _channel_axis(self, node: NodeProto) -> int | None:
        """The weight's output-channel axis; None for a node that stays float."""
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return None
        weight = self._weights.get(node.input[1])
        if weight is None or weight.data_type != TensorProto.FLOAT or node.input[0] not in self._ranges:
            return None
        if node.op_type == "Conv":
            return 0
        if node.op_type == "Gemm":
            attributes = {attribute.name: attribute.i for attribute in node.attribute}
            return 0 if attributes.get("transB") else 1
        return len(weight.dims) - 1 if len(weight.dims) == 2 else None

    def _quantized_activation(self, name: str) -> str:
        if name not in self._dequantized:
            scale = np.float32(max(self._ranges[name].absmax / QMAX, MIN_SCALE))
            quantized, dequantized = f"{name}.int8", f"{name}.dequantized"
            parameters = self._parameters(name, np.array(scale), np.zeros((), np.int8))
            self._nodes.append(
                helper.make_node("QuantizeLinear", [name, *parameters], [quantized], name=f"quantize/{name}")
            )
            self._dequantize(name, quantized, dequantized, parameters)
        return self._dequantized[name]

    def _quantized_weight(self, name: str, axis: int) -> str:
        key = f"{name}.axis{axis}"
        if key not in self._dequantized:
            integers, scales = quantize_weight(array_of(self._weights[name]), axis)
            self._new[f"{key}.int8"] = as_tensor(f"{key}.int8", integers)
            parameters = self._parameters(key, scales, np.zeros(scales.shape, np.int8))
            self._dequantize(key, f"{key}.int8", f"{key}.dequantized", parameters, axis=axis)
        return self._dequantized[key]

    def _dequantize(
        self, key: str, quantized: str, dequantized: str, parameters: list[str], **attributes: Any
    ) -> None:
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [quantized, *parameters],
                [dequantized],
                name=f"dequantize/{key}",
                **attributes,
            )
        )
        self._dequantized[key] = dequantized

    def _parameters(self, key: str, scale: NDArray[Any], zero_point: NDArray[Any]) -> list[str]:
        names = [f"{key}.scale", f"{key}.zero_point"]
        for name, values in zip(names, (scale, zero_point), strict=True):
            self._new[name] = as_tensor(name, values)
        return names


def quantize_weight(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric per-channel weights: int8 of the same shape, and one float32 scale a channel of `axis`."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = np.maximum(np.abs(weight).max(axis=others) / QMAX, MIN_SCALE).astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    integers = np.clip(np.rint(weight / scales.reshape(shape)), -QMAX, QMAX)
    return integers.astype(np.int8), scales
