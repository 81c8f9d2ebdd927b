"""What of a `.pt2` archive may be given to torch's loader: only what cannot run code.

torch.export.load trusts its file: it unpickles payloads with weights_only=False, and guards, sizes, operators
and names from the file become Python code or are imported. So nothing in the file is trusted here: each text
in it must be a plain name, unless a rule of its own allows more. Guards, metadata and sample inputs are left
out, since an export needs none of them. Shapes are as in torch/_export/serde/schema.py.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...runtime.errors import ModelError

TODO = "give the network's factory, file.py:factory or package.module:factory, and --weights FILE; or ONNX"
ROOT = "program"
PROGRAM = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
MAX_PROGRAM_BYTES = 128 << 20  # of JSON; that of a network with a thousand layers has 2 MB
MAX_EXPRESSION = 500  # characters
CONFIGS = {
    "data/weights/model_weights_config.json": "data/weights/",
    "data/constants/model_constants_config.json": "data/constants/",
}
MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
)
PAYLOAD = re.compile(r"(weight|tensor)_\d+", re.ASCII)
NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)?")
PATH = re.compile(r"((?!__)[\w-]+(\.(?!__)[\w-]+)*)?", re.ASCII)  # of a parameter in the network
WORDS = re.compile(r"[\w ,.>-]*", re.ASCII)  # an argument such as "floor", or einsum's "bij,bjk->bik"
# Of one token each, with no repetition inside the repeated group: the time to match is linear.
EXPRESSION = re.compile(
    r"(Symbol\('[su]\d{1,9}'|Integer|Add|Mul|Max|Min|FloorDiv|PythonMod|Mod|[a-z]+=True|[su]\d{1,9}(?!\d)"
    r"|\b\d{1,18}(?!\d)|\*(?!\*)|[()+, -])*",
    re.ASCII,
)
FLOAT = re.compile(r"-?Infinity|NaN")  # JSON has no numbers for these
ALLOWED_TEXT = {
    "expr_str": EXPRESSION,
    "parameter_name": PATH,
    "buffer_name": PATH,
    "tensor_constant_name": PATH,
    "fqn": PATH,
    "as_string": WORDS,
    "as_float": FLOAT,
    "as_floats": FLOAT,
}
# Arguments that bring in objects, and graphs in graphs, whose code torch would make and run.
REFUSED_KEYS = {"as_graph", "as_operator", "as_custom_obj", "as_string_to_argument", "custom_obj", "token"}
SCALAR_OPERATOR = re.compile(r"_operator\.(add|sub|mul|floordiv|mod|neg|ge|le|gt|lt|eq|ne)")
TENSOR_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
# Operators whose name begins with an underscore may skip checks of memory; these are the usual ones.
USUAL_PRIVATE = re.compile(
    r"_softmax|_log_softmax|_to_copy|_adaptive_avg_pool2d|_native_batch_norm_legit_no_training|_unsafe_view"
    r"|_unsafe_index|_assert_tensor_metadata|_upsample_(bicubic2d_aa|bilinear2d_aa|nearest_exact2d)"
    r"|_scaled_dot_product_\w+|__(and|or|xor)__",
    re.ASCII,
)
CONTAINERS = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}


def checked(path: Path) -> bytes:
    """The archive, rewritten from what passed; all else in it is refused or left out.

    Raises:
        ModelError: it holds what could run code, or claims more bytes than the file has.
        Exception: it is damaged; zipfile and json raise many kinds.
    """
    held = _members(path)
    for name, folder in CONFIGS.items():
        _check_payloads(json.loads(held.get(name, b'{"config": {}}')), folder, held, path)
    held[PROGRAM] = json.dumps(_program(json.loads(held[PROGRAM]), path)).encode()
    held[SAMPLES] = b""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in held.items():
            archive.writestr(f"{ROOT}/{name}", content)
    return stream.getvalue()


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        claimed = sum(member.file_size for member in members)
        if claimed > path.stat().st_size or any(member.compress_type for member in members):
            raise ModelError(
                f"{path} claims to hold {claimed} bytes in a file of {path.stat().st_size}.",
                wanted="an archive as torch.export.save writes it, which is not compressed",
                todo=TODO,
            )
        held = {}
        for member in members:
            name = member.filename.partition("/")[2]
            if not MEMBERS.fullmatch(name):
                raise refused(path, f"it holds {member.filename!r}")
            held[name] = archive.read(member)
    if len(held[PROGRAM]) > MAX_PROGRAM_BYTES:
        raise ModelError(f"The graph in {path} has {len(held[PROGRAM])} bytes.", todo=TODO)
    return held


def _check_payloads(config: Any, folder: str, held: Mapping[str, bytes], path: Path) -> None:
    for key, payload in config["config"].items():
        file = payload["path_name"]
        if payload["use_pickle"] is not False or not PAYLOAD.fullmatch(file):
            raise refused(path, f"the payload of {key!r} is pickled")
        meta = payload["tensor_meta"]
        sides = [side["as_int"] for side in meta["sizes"]]
        if math.prod(sides) > len(held[folder + file]):
            raise ModelError(
                f"The tensor {key!r} in {path} has more elements than bytes.",
                got=f"shape {tuple(sides)} in {len(held[folder + file])} bytes",
                todo=TODO,
            )
    _check_texts(config, path, keys=PATH)


def _program(value: Any, path: Path) -> Any:
    """The program without guards, metadata and the calls of inner modules, after a look at every text."""
    graph_module = value["graph_module"]
    value.update(guards_code=[], torch_version="")
    graph_module.update(metadata={}, treespec_namedtuple_fields={})
    graph_module["module_call_graph"] = graph_module["module_call_graph"][:1]
    for node in graph_module["graph"]["nodes"]:
        node["metadata"] = {}
    _check_texts(value, path, keys=NAME)
    return value


def _check_texts(value: Any, path: Path, keys: re.Pattern[str]) -> None:
    """Refuse every text that is no plain name and that no rule allows.

    Args:
        value: of the archive's JSON.
        path: of the archive, for messages.
        keys: what a key may be.
    """
    for key, text in _texts(value):
        if key is None:
            if text in REFUSED_KEYS or not keys.fullmatch(text):
                raise refused(path, f"it holds {text[:80]!r}")
        elif key == "target":
            _check_operator(text, path)
        elif key in ("in_spec", "out_spec"):
            _check_container(json.loads(text)[1], path)
        elif key == "type" and text != "cpu":
            raise ModelError(f"{path} was saved on {text[:20]!r}.", todo='export it with network.to("cpu")')
        elif key == "expr_str" and len(text) > MAX_EXPRESSION:
            raise ModelError(f"A size in {path} is an expression of {len(text)} characters.", todo=TODO)
        elif not ALLOWED_TEXT.get(key, NAME).fullmatch(text):
            raise refused(path, f"its {key} is {text[:80]!r}")


def _texts(value: Any, key: str = "") -> Iterator[tuple[str | None, str]]:
    """Every text in a JSON value with the key under which it stands, and every key with None."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield None, name
            yield from _texts(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, str):
        yield key, value


def _check_operator(target: str, path: Path) -> None:
    """Refuse all but sums of sizes, and operators of ATen's that take or give tensors and open no file."""
    if SCALAR_OPERATOR.fullmatch(target):
        return
    found = TENSOR_OPERATOR.fullmatch(target)
    name, overload = found.groups() if found else ("", "")
    operator = getattr(getattr(torch.ops.aten, name, None), overload, None) if found else None
    if not isinstance(operator, torch._ops.OpOverload):
        raise refused(path, f"it calls {target[:80]!r}")
    schema = operator._schema
    kinds = [str(item.type) for item in (*schema.arguments, *schema.returns)]
    if (
        (name.startswith("_") and not USUAL_PRIVATE.fullmatch(name))
        or not any("Tensor" in kind for kind in kinds)
        or any(argument.name == "filename" for argument in schema.arguments)
    ):
        raise refused(path, f"it calls {target[:80]!r}")


def _check_container(spec: Any, path: Path) -> None:
    """Refuse inputs and outputs in other than plain containers: torch imports what others name."""
    kind, context = spec["type"], spec["context"]
    names = json.loads(context) if isinstance(context, str) else context
    plain = names is None or (
        isinstance(names, list) and all(isinstance(name, str) and NAME.fullmatch(name) for name in names)
    )
    if (kind is not None and kind not in CONTAINERS) or not plain:
        raise refused(path, f"its inputs or outputs are of the type {str(kind)[:80]!r} of {names!r:.80}")
    for child in spec["children_spec"]:
        _check_container(child, path)


def refused(path: Path, why: str) -> ModelError:
    """The error for what could run code."""
    return ModelError(f"{path} was refused: {why}, and loading that could run code.", todo=TODO)
