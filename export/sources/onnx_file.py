"""A trained ONNX file as the start of an export: its own answers are the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...calibration.artifact import OnnxArtifact
from ...calibration.normalize.dynamic_reshape import keep_batch
from ...calibration.normalize.passes import normalize
from ...calibration.onnx_graph.input_shape import with_input
from ...calibration.onnx_graph.read import read_onnx
from ...calibration.onnx_graph.shapes import input_of
from ...runtime.errors import ExportError, ModelError
from ...runtime.session.session import Session, run_batched
from ..models.spec import InputShape
from .origin import Origin

SUFFIX = ".onnx"


def is_onnx_file(model: object) -> bool:
    """Whether a request's model is an ONNX file, by its name."""
    return isinstance(model, (str, Path)) and str(model).lower().endswith(SUFFIX)


class OnnxOrigin(Origin):
    """A trained ONNX file.

    Args:
        path: the file.
        input_shape: (channels, height, width) of a sample, where the file leaves sides open; None for its
            own.

    Attributes:
        input_shape: of a sample, without the batch.

    Raises:
        InputError: the file cannot be read, has not one input, or leaves sides open that nobody gives.
    """

    title = "the ONNX file"

    def __init__(self, path: Path, input_shape: InputShape | None = None) -> None:
        file = read_onnx(path)
        self.path = path
        self.input_shape: InputShape = _sides(file, path, input_shape)
        self._model = with_input(file, self.input_shape)

    def answers(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The file's own answers by ONNX Runtime; a fixed batch is filled up."""
        batch = input_of(self._model).shape[0]
        size = batch if isinstance(batch, int) else min(len(inputs), 8)
        whole = inputs[np.arange(-(-len(inputs) // size) * size) % len(inputs)]
        with Session(self._model.SerializeToString()) as session:
            found = run_batched(session, whole, size)
        for name, values in found.items():
            if values.shape[:1] != (len(whole),):
                raise ModelError(
                    f"The model's output {name!r} does not have a row for each input.",
                    wanted=f"shape ({len(whole)}, ...)",
                    got=f"shape {values.shape}",
                    todo="export the model without what it does over the whole batch",
                )
        return {name: values[: len(inputs)] for name, values in found.items()}

    def first_model(self, example: NDArray[np.float32]) -> OnnxArtifact:
        """The file's model; of a fixed batch the same for any batch, where ONNX Runtime runs it so.

        Raises:
            ExportError: it takes batches of several only, which no runner sends.
        """
        batch = input_of(self._model).shape[0]
        if not isinstance(batch, int):
            return OnnxArtifact(self._model, "file")
        some = example[np.arange(batch + 1) % len(example)]
        for attempt in (_opened, _opened_reshapes):
            if (free := attempt(self._model, some)) is not None:
                return OnnxArtifact(free, "file")
        if batch == 1:
            return OnnxArtifact(self._model, "file")
        raise ExportError(
            f"The model takes batches of {batch} only.",
            wanted="a dynamic batch, or batches of 1",
            todo="export it again with a dynamic batch",
        )

    def inside(self, inputs: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        """What each node of the file computes, float values alone."""
        shown = onnx.ModelProto()
        shown.CopyFrom(self._model)
        known = {output.name for output in shown.graph.output}
        made = {
            info.name: info
            for info in onnx.shape_inference.infer_shapes(self._model).graph.value_info
            if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        }
        shown.graph.output.extend(info for name, info in made.items() if name not in known)
        size = input_of(self._model).shape[0]
        with Session(shown.SerializeToString()) as session:
            return session.run(inputs[:size] if isinstance(size, int) else inputs)


def _opened(model: onnx.ModelProto, some: NDArray[np.float32]) -> onnx.ModelProto | None:
    """The model with an open batch; None where it does not run so."""
    free = with_input(model, batch=0)
    try:
        with Session(free.SerializeToString()) as session:
            found = session.run(some)
    except ModelError:
        return None
    return free if all(len(values) == len(some) for values in found.values()) else None


def _opened_reshapes(model: onnx.ModelProto, some: NDArray[np.float32]) -> onnx.ModelProto | None:
    """The same where Reshapes name the batch, which they need not."""
    try:
        return _opened(keep_batch(normalize(model)), some)
    except ModelError:
        return None


def _sides(model: onnx.ModelProto, path: Path, given: InputShape | None) -> InputShape:
    sides = given or input_of(model).shape[1:]
    if not all(isinstance(side, int) for side in sides):
        raise ModelError(
            f"The input of {path.name} is not known.",
            wanted=f"{len(sides)} sides of a sample",
            got=f"shape {input_of(model).shape} in the file",
            todo="give them with --input CxHxW, such as --input 3x640x640",
        )
    return tuple(int(side) for side in sides)
