"""A `.pt2` file: PyTorch's ExportedProgram, read only as far as nothing in it can run code.

torch's own loader unpickles payloads, falls back to weights_only=False, evaluates expressions of sizes, and
compiles guards, all of which come from the file. So the archive is checked first: only raw tensors, operators
of ATen, and sums and products of symbols pass; guards and metadata are dropped. What is left is loaded.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...runtime.errors import ModelError, gist
from ..models.spec import InputShape, ModelSpec, Variant

SUFFIX = ".pt2"
MAX_BYTES = 4 << 30
TODO = "give the network's factory, file.py:factory or package.module:factory, and --weights FILE; or ONNX"
MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
)
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
PAYLOAD = re.compile(r"(weight|tensor)_\d+")
TARGET = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|ge|le|gt|lt|eq)|math\.trunc"
)
EXPRESSION = re.compile(
    r"(Symbol\('[su]\d+'|Integer|Add|Mul|Pow|Max|Min|FloorDiv|Mod|PythonMod|positive=True|integer=True"
    r"|nonnegative=True|-?\d+|[su]\d+|[()+*, /-])+"
)
TREE = re.compile(r"builtins\.(tuple|list|dict)")


def spec(path: Path) -> ModelSpec:
    """Describe the network of a program; its only variant gives that network, with the weights in the file.

    Raises:
        ModelError: the file is absent, is no program, or holds what could run code.
    """
    program = read_program(path)
    network: nn.Module = program.module(check_guards=False)
    shape = _input_shape(program, path)

    def build(classes: int) -> nn.Module:
        return network

    return ModelSpec(
        name=path.stem,
        source=f"{path.name} (torch.export)",
        standard=Variant("standard", shape, build),
        data=(),
        own_weights=True,
    )


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Read a program after its archive has passed the check.

    Raises:
        ModelError: the file is absent, damaged, or holds what could run code.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", todo=TODO)
    try:
        data = _checked(path)
        return torch.export.load(io.BytesIO(data))
    except ModelError:
        raise
    except Exception as error:  # zipfile, json and torch fail on damaged archives in many ways
        raise ModelError(f"{path} cannot be read as an ExportedProgram: {gist(error)}", todo=TODO) from error


def _checked(path: Path) -> bytes:
    """The archive without guards and metadata, after a look at all that it holds."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise ModelError(f"{path} would unpack to more than {MAX_BYTES} bytes.")
        root = members[0].filename.partition("/")[0]
        names = [member.filename.removeprefix(f"{root}/") for member in members]
        for name in names:
            if not MEMBERS.fullmatch(name):
                raise _refused(path, f"it holds {name!r}")
        held = {name: archive.read(member) for name, member in zip(names, members, strict=True)}
    for name in CONFIGS:
        config: Any = json.loads(held.get(name, b'{"config": {}}'))
        for key, payload in config["config"].items():
            if payload.get("use_pickle") or not PAYLOAD.fullmatch(payload["path_name"]):
                raise _refused(path, f"the payload of {key!r} is pickled")
    sample = held.get("data/sample_inputs/model.pt", b"")
    if sample:
        try:
            torch.load(io.BytesIO(sample), weights_only=True)
        except Exception as error:  # pickle's errors, and those of a damaged archive
            raise _refused(path, "its sample inputs are more than tensors") from error
    held["models/model.json"] = json.dumps(_program(json.loads(held["models/model.json"]), path)).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in held.items():
            archive.writestr(f"{root}/{name}", content)
    return stream.getvalue()


def _program(value: Any, path: Path) -> Any:
    """The program's JSON without guards and metadata; refused where a word in it could be code."""
    value["guards_code"] = []
    for node in value["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    for key, text in _strings(value):
        if key == "target" and not TARGET.fullmatch(text):
            raise _refused(path, f"it calls {text!r}")
        if key == "expr_str" and not EXPRESSION.fullmatch(text):
            raise _refused(path, f"a size in it is the expression {text[:80]!r}")
        if key in ("in_spec", "out_spec"):
            for kind in re.findall(r'"type": "([^"]*)"', text):
                if not TREE.fullmatch(kind):
                    raise _refused(path, f"its inputs or outputs are of the type {kind!r}")
    return value


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, with the key under which it stands."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _strings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
    elif isinstance(value, str):
        yield key, value


def _input_shape(program: torch.export.ExportedProgram, path: Path) -> InputShape:
    names = program.graph_signature.user_inputs
    if len(names) != 1:
        raise ModelError(
            f"{path} has {len(names)} inputs.",
            wanted="exactly one: the images",
            got=", ".join(map(str, names)),
        )
    node = next(node for node in program.graph.nodes if node.name == next(iter(names)))
    example: Any = node.meta["val"]
    sides = example.shape[1:]
    if not all(isinstance(side, int) for side in sides):
        raise ModelError(
            f"{path} leaves sides of its input open.", got=str(tuple(sides)), todo="export it fixed"
        )
    return tuple(int(side) for side in sides)


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} was refused: {why}, and loading that could run code.", todo=TODO)
