"""The one reader of shapes: what a graph records of its values, and what can be inferred."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from ...runtime.bundle.manifest import TensorSpec
from ...runtime.errors import ModelError
from .graph import initializers

Shape = tuple[int | str | None, ...]
"""The sides of a value: a number, the name of an axis that may vary, or None where nothing is said of it."""


def shape_of(info: onnx.ValueInfoProto) -> Shape | None:
    """The recorded shape of a value; None where even the number of axes is unknown."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        side.dim_value if side.HasField("dim_value") else side.dim_param or None for side in tensor.shape.dim
    )


def recorded_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shapes that a model records of its inputs, outputs, inner values and initializers, by name."""
    graph = model.graph
    shapes = {info.name: shape_of(info) for info in (*graph.input, *graph.value_info, *graph.output)}
    known = {name: shape for name, shape in shapes.items() if shape is not None}
    return known | {name: tuple(tensor.dims) for name, tensor in initializers(model).items()}


def inferred_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The same, with the shapes that ONNX infers."""
    return recorded_shapes(onnx.shape_inference.infer_shapes(model))


def shapes_for(model: onnx.ModelProto, shape: Sequence[int]) -> dict[str, Shape]:
    """The shapes of a model with one input when that has a given shape; nothing that is recorded counts."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    sides = sized.graph.input[0].type.tensor_type.shape
    sides.ClearField("dim")
    for side in shape:
        sides.dim.add().dim_value = side
    sized.graph.ClearField("value_info")
    for output in sized.graph.output:
        output.type.tensor_type.ClearField("shape")
    return inferred_shapes(sized)


def input_of(model: onnx.ModelProto) -> TensorSpec:
    """Name, shape and numpy dtype of a model's input; an axis that may vary has a name, "?" if it has none.

    Raises:
        ModelError: there is not exactly one input.
    """
    weights = initializers(model)
    inputs = [info for info in model.graph.input if info.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise ModelError("The model must have exactly one input.", got=names or "none")
    shape = tuple("?" if side is None else side for side in shape_of(inputs[0]) or ())
    dtype = onnx.helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type).name
    return TensorSpec(inputs[0].name, shape, dtype)
