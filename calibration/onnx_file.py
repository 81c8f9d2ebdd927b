"""Reading a user's ONNX file, with the weights that it may keep in files beside it."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from ..runtime.errors import InputError, ModelError, gist


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file whole; weights in files beside it are read too, and only from there.

    Raises:
        InputError: there is no such file.
        ModelError: it is not an ONNX model, or its weights cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The model {path} cannot be read.", wanted="an ONNX file", got=error.strerror or str(error)
        ) from error
    model = parse_onnx(data, str(path))
    if not is_whole(model):
        try:
            onnx.load_external_data_for_model(model, str(path.absolute().parent))
        except Exception as error:  # onnx raises what its C++ checker and the file system give
            raise ModelError(
                f"The weights that {path} keeps in other files cannot be read.",
                got=gist(error),
                todo="copy the model's whole folder, or save the model in one file",
            ) from error
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
    return model


def is_whole(model: onnx.ModelProto) -> bool:
    """Whether all initializers are in the model itself."""
    return not any(uses_external_data(tensor) for tensor in model.graph.initializer)


def _not_onnx(name: str, got: str) -> ModelError:
    return ModelError(f"{name} is not an ONNX model.", wanted="a graph with nodes and outputs", got=got)
