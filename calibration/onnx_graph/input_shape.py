"""The sides that a model declares for its input: opened where not known, set where they are given."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from ...runtime.errors import ModelError
from .shapes import input_of

BATCH = "batch"


def open_unknown_sides(model: onnx.ModelProto) -> None:
    """Forget, in place, every side below 1: Paddle, among others, writes -1 for one that may vary."""
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for side in info.type.tensor_type.shape.dim:
            if side.HasField("dim_value") and side.dim_value < 1:
                side.Clear()


def with_input(
    model: onnx.ModelProto, sides: Sequence[int] | None = None, batch: int | None = None
) -> onnx.ModelProto:
    """The same model for an input of another shape than it declares; itself where nothing is given.

    What the file records of other shapes is dropped: it may hold no longer, and is inferred again.

    Args:
        model: with one input.
        sides: of a sample, without the batch, such as (3, 640, 640); None to leave them.
        batch: 0 for one that may vary; None to leave it.

    Raises:
        ModelError: the model has not exactly one input, or not that many sides.
    """
    if sides is None and batch is None:
        return model
    declared = input_of(model)
    if sides is not None and len(sides) != len(declared.shape) - 1:
        raise ModelError(
            f"The input {declared.name!r} has another number of sides.",
            wanted=f"{len(declared.shape) - 1} of them, without the batch",
            got="x".join(map(str, sides)),
            todo="--input CxHxW, such as --input 3x640x640",
        )
    found = onnx.ModelProto()
    found.CopyFrom(model)
    found.graph.ClearField("value_info")
    info = next(each for each in found.graph.input if each.name == declared.name)
    axes = info.type.tensor_type.shape.dim
    for axis, length in zip(axes[1:], sides or (), strict=False):
        axis.Clear()
        axis.dim_value = length
    for output in found.graph.output:
        output.type.tensor_type.ClearField("shape")
    if batch is not None:
        axes[0].Clear()
        if batch:
            axes[0].dim_value = batch
        else:
            axes[0].dim_param = BATCH
    return onnx.shape_inference.infer_shapes(found)
