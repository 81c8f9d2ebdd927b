"""Reading a user's ONNX file, with the weights that it may keep in files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import FunctionProto, GraphProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from ...runtime.errors import InputError, ModelError, gist
from .graph import array_of
from .input_shape import open_unknown_sides


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file whole; weights in files beside it are read too, and only from there.

    Raises:
        InputError: there is no such file.
        ModelError: it is not an ONNX model, or its weights are outside its folder, absent, or of another
            size than they must be.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The model {path} cannot be read.", wanted="an ONNX file", got=error.strerror or str(error)
        ) from error
    model = parse_onnx(data, str(path))
    for tensor in filter(uses_external_data, _tensors(model)):
        _load(tensor, path)
    return model


def parse_onnx(data: bytes, name: str) -> onnx.ModelProto:
    """Decode an ONNX model.

    Args:
        data: the file's bytes.
        name: what to call it in a message.

    Raises:
        ModelError: the bytes are not an ONNX model with nodes and outputs.
    """
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise _not_onnx(name, gist(error)) from error
    if not model.graph.node or not model.graph.output:
        raise _not_onnx(name, f"{len(data)} bytes without a graph")
    open_unknown_sides(model)
    return model


def is_whole(model: onnx.ModelProto) -> bool:
    """Whether all weights and constants are in the model itself."""
    return not any(map(uses_external_data, _tensors(model)))


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a model may keep in another file."""
    for part in (model.graph, *model.functions):
        yield from _tensors_of(part)


def _tensors_of(part: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    if isinstance(part, GraphProto):
        yield from part.initializer
    for node in part.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors_of(graph)


def _load(tensor: TensorProto, path: Path) -> None:
    """Read one tensor's values from the file that it names.

    onnx sees to it that the file is in the model's folder, but takes any number of bytes from it.
    """
    try:
        load_external_data_for_tensor(tensor, str(path.absolute().parent))
    except Exception as error:  # onnx raises what its C++ checker and the file system give
        raise _unreadable(path, gist(error)) from error
    try:
        array_of(tensor)
    except (ValueError, TypeError, KeyError) as error:  # of numpy, and for an element type that is none
        shape = ", ".join(map(str, tensor.dims))
        got = f"{len(tensor.raw_data)} bytes for {tensor.name!r} of shape ({shape}): {gist(error)}"
        raise _unreadable(path, got) from error


def _unreadable(path: Path, got: str) -> ModelError:
    return ModelError(
        f"The weights that {path} keeps in other files cannot be read.",
        got=got,
        todo="copy the model's whole folder, or save the model in one file",
    )


def _not_onnx(name: str, got: str) -> ModelError:
    return ModelError(f"{name} is not an ONNX model.", wanted="a graph with nodes and outputs", got=got)
