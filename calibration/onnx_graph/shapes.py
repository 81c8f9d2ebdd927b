"""What is known of the shapes in a graph."""

from __future__ import annotations

import onnx


def ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Number of axes of each activation where it can be inferred, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        info.name: len(info.type.tensor_type.shape.dim)
        for info in (*graph.input, *graph.value_info, *graph.output)
        if info.type.tensor_type.HasField("shape")
    }
