"""What a bundle says of itself: `manifest.json`, schema 1, as frozen dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .accuracy import Accuracy
from .errors import BundleError
from .parity import Parity
from .preprocess import Preprocess
from .records import decode, encode

SCHEMA = 1
PRECISIONS = ("fp32", "fp16", "int8")
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape (an int, or a name for an axis that may vary) and numpy dtype of an input or output."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class OutputSpec(TensorSpec):
    """An output; `scores` tells whether its rows are logits or already probabilities."""

    scores: Literal["logits", "probabilities"] = "logits"


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle: its plain name, SHA-256 and length in bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Preflight:
    """What NVIDIA's compiler said of the graph; `accepted` is None when it was not asked."""

    compiler: str | None = None
    accepted: bool | None = None
    message: str = "not checked"


@dataclass(frozen=True)
class ModelEntry(FileEntry):
    """One precision of the model: its file and its proofs.

    Attributes:
        nodes: number of ONNX nodes.
        parity: comparison with PyTorch's answers.
        accuracy: top-1 on the evaluation images, and the drop against float32; None without labels.
        kept_float32: names of nodes that stay float32 in a lower precision.
        parent: SHA-256 of the ONNX model from which this one was made; None for the first.
    """

    nodes: int
    parity: Parity
    accuracy: Accuracy | None = None
    preflight: Preflight = Preflight()
    kept_float32: tuple[str, ...] = ()
    parent: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Which precision to ship, and why."""

    ship: Precision
    why: str


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`. Sections that no program reads stay plain mappings."""

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
    golden: FileEntry
    verdict: Verdict
    toolchain: Mapping[str, Any]
    stages: tuple[Mapping[str, Any], ...] = ()
    lineage: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.models) - set(PRECISIONS)
        if unknown or "fp32" not in self.models:
            raise ValueError(f"models must hold fp32 and may hold fp16 and int8, not {sorted(self.models)}")
        if self.verdict.ship not in self.models:
            raise ValueError(f"verdict.ship is {self.verdict.ship!r}, which is not among the models")
        if len(self.files()) != len(self.models) + 1:
            raise ValueError("two entries name the same file")
        if not self.outputs:
            raise ValueError("outputs must not be empty")
        classes = self.outputs[0].shape[-1:]
        if self.labels and classes != (len(self.labels),):
            raise ValueError(
                f"there are {len(self.labels)} labels for an output of shape {self.outputs[0].shape}"
            )

    def files(self) -> dict[str, FileEntry]:
        """All files that the manifest vouches for, by plain name."""
        entries = [*self.models.values(), self.golden]
        return {entry.file: entry for entry in entries}

    def to_json(self) -> str:
        """The manifest as indented JSON, without NaN or Infinity."""
        return json.dumps(encode(self), indent=2, allow_nan=False) + "\n"


def parse_manifest(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        BundleError: not JSON, a newer schema, or a value that is missing or of the wrong type.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not valid JSON: {error}") from error
    schema = value.get("schema") if isinstance(value, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleError(
            "The bundle was written by a newer edgeproof.",
            wanted=f"schema {SCHEMA} or older",
            got=f"schema {schema}",
            todo="pip install --upgrade edgeproof",
        )
    try:
        manifest = decode(Manifest, value)
    except ValueError as error:
        raise BundleError(f"manifest.json does not keep schema {SCHEMA}: {error}") from error
    if manifest.schema != SCHEMA:
        raise BundleError(f"manifest.json names schema {manifest.schema}, which never existed")
    return manifest


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number
