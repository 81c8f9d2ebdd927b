"""The contents of `manifest.json`, schema 2, as frozen dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import BundleError
from ..files import sha256_bytes
from ..records import decode, encode
from ..tasks.outputs import OutputSpec, TensorSpec
from .accuracy import Accuracy
from .manifest_upgrade import upgrade_schema_1
from .parity import Parity
from .preprocess import Preprocess

SCHEMA = 2
COPY_AGAIN = "copy the whole folder again, or export it again"
HASH = "sha256"  # key of the manifest's own hash
PRECISIONS = ("fp32", "fp16", "int8")
Precision = Literal["fp32", "fp16", "int8"]
FloatPrecision = Literal["float32", "float16"]


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: its plain name, SHA-256 and length in bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class PictureEntry(FileEntry):
    """A recorded picture, and the label that PyTorch gives it; none where the task is no classification."""

    label: str = ""


@dataclass(frozen=True)
class Preflight:
    """What NVIDIA's compiler said of the graph; `accepted` is None where it was not run."""

    compiler: str | None = None
    accepted: bool | None = None
    message: str = "not checked"


@dataclass(frozen=True)
class ModelEntry(FileEntry):
    """One precision of the model: its file and its proofs.

    Attributes:
        nodes: number of ONNX nodes.
        parity: comparison with PyTorch's answers.
        accuracy: the task's metric on the evaluation samples, and its drop; None where it was not measured.
        kept: nodes that do not compute in the model's own precision, by name, and in which they do.
        parent: SHA-256 of the ONNX model from which this one was made; None for the first.
    """

    nodes: int
    parity: Parity
    accuracy: Accuracy | None = None
    preflight: Preflight = Preflight()
    kept: Mapping[str, FloatPrecision] = field(default_factory=dict)
    parent: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Which precision to ship, and why.

    Attributes:
        ship: the precision.
        why: in words.
        decided: False where the interval of the drop holds the budget: INT8 may be within it, or not.
        more_samples: about how many samples more would decide; None where it is decided, or none would.
        warnings: what else a person should know before it is shipped.
    """

    ship: Precision
    why: str
    decided: bool = True
    more_samples: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json` but its own hash. Sections that no program reads stay plain mappings.

    Attributes:
        target: what the INT8 model was made for, such as "tensorrt" or "cpu"; None where there is none, or
            where a bundle of schema 1 does not say.
        pictures: recorded pictures, in the order of their tensors in golden.npz.
        task: name and parameters of the task; None, for a bundle of schema 1, stands for classification.
        task_arrays: the file of what the task needs beside its parameters, such as anchors.
        evidence: the file of measurements that led to the models; None for a bundle of schema 1.
        report: the file that shows all of this to a person; None where there is none.
        materials: the file that lists the packages with which the bundle was made, as CycloneDX; None where
            there is none.
    """

    schema: int
    name: str
    architecture: str
    form: str
    edgeproof: str
    created: str
    weights: Mapping[str, Any]
    data: Mapping[str, Any]
    input: TensorSpec
    outputs: tuple[OutputSpec, ...]
    preprocess: Preprocess | None
    labels: tuple[str, ...]
    models: Mapping[str, ModelEntry]
    target: str | None
    golden: FileEntry
    pictures: tuple[PictureEntry, ...]
    evidence: FileEntry | None
    verdict: Verdict
    toolchain: Mapping[str, Any]
    task: Mapping[str, Any] | None = None
    task_arrays: FileEntry | None = None
    stages: tuple[Mapping[str, Any], ...] = ()
    lineage: tuple[Mapping[str, Any], ...] = ()
    report: FileEntry | None = None
    materials: FileEntry | None = None

    def __post_init__(self) -> None:
        unknown = set(self.models) - set(PRECISIONS)
        if unknown or "fp32" not in self.models:
            raise ValueError(f"models must hold fp32 and may hold fp16 and int8, not {sorted(self.models)}")
        if self.verdict.ship not in self.models:
            raise ValueError(f"verdict.ship is {self.verdict.ship!r}, which is not among the models")
        if len(self.files()) != len(self._entries()):
            raise ValueError("two entries name the same file")
        if self.target is not None and "int8" not in self.models:
            raise ValueError(f"target is {self.target!r}, and there is no INT8 model")
        self._check_tensors()
        if self.pictures and self.preprocess is None:
            raise ValueError("there are pictures, and no preprocess that takes them")
        for picture in self.pictures:
            if picture.label and picture.label not in self.labels:
                raise ValueError(f"{picture.file} has the label {picture.label!r}, which is no class")

    def _check_tensors(self) -> None:
        if not self.outputs:
            raise ValueError("outputs must not be empty")
        if self.preprocess and self.preprocess.dtype != self.input.dtype:
            raise ValueError(
                f"preprocess gives {self.preprocess.dtype}, but the input takes {self.input.dtype}"
            )

    def files(self) -> dict[str, FileEntry]:
        """All files that the manifest vouches for, by plain name."""
        return {entry.file: entry for entry in self._entries()}

    def to_json(self) -> str:
        """The manifest with its own hash as indented JSON, without NaN or Infinity."""
        value = json.loads(json.dumps(encode(self), allow_nan=False))
        return json.dumps({**value, HASH: manifest_sha256(value)}, indent=2) + "\n"

    def _entries(self) -> list[FileEntry]:
        named = (self.evidence, self.task_arrays, self.report, self.materials)
        others = [entry for entry in named if entry is not None]
        return [*self.models.values(), self.golden, *self.pictures, *others]


def manifest_sha256(value: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's canonical JSON: all its keys but the hash itself, also those unknown here.

    Canonical is UTF-8 with keys sorted by code point, no blanks, and nothing escaped that need not be.

    Args:
        value: the manifest as parsed JSON.

    Raises:
        ValueError: NaN or Infinity, or a string that is not Unicode text.
    """
    hashed = {key: item for key, item in value.items() if key != HASH}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_bytes(text.encode("utf-8"))


def parse_manifest(text: str) -> Manifest:
    """Read a manifest of this schema or an older one, and check it against its own hash.

    Raises:
        BundleError: not JSON, changed since it was written, a newer schema, or a value that is missing or of
            the wrong type.
    """
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique_keys
        )
        own_hash = manifest_sha256(value) if isinstance(value, dict) else ""
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not valid JSON: {error}") from error
    schema = _known_schema(value)
    if schema == SCHEMA:
        _require_own_hash(value, own_hash)
    try:
        return decode(Manifest, upgrade_schema_1(value) if schema == 1 else value)
    except ValueError as error:
        raise BundleError(f"manifest.json does not keep schema {schema or SCHEMA}: {error}") from error


def _known_schema(value: Any) -> int | None:
    """The schema; None where a manifest names none, which its reader refuses."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if type(schema) is not int:
        return None
    if schema > SCHEMA:
        raise BundleError(
            "The bundle was written by a newer edgeproof.",
            wanted=f"schema {SCHEMA} or older",
            got=f"schema {schema}",
            todo="pip install --upgrade edgeproof",
        )
    if schema < 1:
        raise BundleError(f"manifest.json names schema {schema}, which never existed")
    return schema


def _require_own_hash(value: Mapping[str, Any], found: str) -> None:
    if HASH not in value:
        raise BundleError(
            "manifest.json does not hold its own hash.", wanted=f"the key {HASH!r}", todo=COPY_AGAIN
        )
    if value[HASH] != found:
        raise BundleError(
            "manifest.json was changed after it was written.",
            wanted=f"SHA-256 {value[HASH]}",
            got=f"SHA-256 {found}",
            todo=COPY_AGAIN,
        )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated keys: another reader could take the other value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names the same key twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number
