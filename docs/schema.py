"""Write manifest.schema.json, evidence.schema.json and vectors.json: the bundle for other readers.

python docs/schema.py

The schemas are JSON Schema 2020-12, made from the very dataclasses that read and write the files. The
vectors are small pictures with their tensors, JSON with its canonical form, and scores with their
probabilities.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from edgeproof.export.stages.evidence import Evidence
from edgeproof.runtime.bundle.manifest import HASH, Manifest, manifest_sha256
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.records import encode
from edgeproof.runtime.tasks.classification import softmax

DOCS = Path(__file__).resolve().parent
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
FILES = {"sha256": SHA256, "bytes": {"type": "integer", "minimum": 0}}

PREPROCESSINGS = (
    Preprocess(resize=(4, 4), crop=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    Preprocess(resize=5, crop=(4, 4), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    Preprocess(resize=5, crop=(4, 4), mean=(0.5, 0.25, 0.75), std=(0.5, 0.5, 0.5), interpolation="bicubic"),
    Preprocess(resize=3, crop=(4, 4), mean=(0.0,), std=(1.0,), color="gray"),
    Preprocess(resize=None, crop=(3, 5), mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0), color="bgr"),
    Preprocess(resize=(4, 6), crop=None, mean=(0.0,) * 3, std=(1.0,) * 3, letterbox=114),
)
SIZES = ((7, 5), (5, 7), (3, 9))  # width and height
DOCUMENTS: tuple[Any, ...] = (
    {"b": 1, "a": [True, None, 'é\n\u001f"'], "sha256": "left out"},
    {"numbers": [0, -7, 1.0, 0.1, -0.0, 123456.789, 1e-7, 1.5e16, 2**53]},
    {"nested": {"sha256": "kept", "\U0001f600": "by code point", "ﬀ": 1}},
)


def main() -> None:
    """Write the three files."""
    for name, value in files().items():
        (DOCS / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def files() -> dict[str, Any]:
    """What stands in each file."""
    return {
        "manifest.schema.json": manifest_schema(),
        "evidence.schema.json": {"$schema": DRAFT, **_schema(Evidence)},
        "vectors.json": vectors(),
    }


def manifest_schema() -> dict[str, Any]:
    """The schema of manifest.json, with its own hash, and with the form of hashes and lengths."""
    schema = {"$schema": DRAFT, **_schema(Manifest)}
    schema["properties"]["schema"] = {"const": 2}
    schema["properties"][HASH] = SHA256
    schema["required"].append(HASH)
    for part in schema["$defs"].values():
        for name, form in FILES.items():
            if name in part.get("properties", {}):
                part["properties"][name] = form
    return schema


def _schema(kind: Any) -> dict[str, Any]:
    """Keys that are not known are allowed."""
    return _without_titles(TypeAdapter(kind).json_schema())


def _without_titles(value: Any) -> Any:
    """pydantic titles every field with its own name in other words."""
    if isinstance(value, list):
        return [_without_titles(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_titles(each) for key, each in value.items() if not _is_title(key, each)}


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def vectors() -> dict[str, Any]:
    """Inputs with what a reader must make of them."""
    return {
        "preprocess": list(_pictures()),
        "canonical": [
            {"value": value, "canonical": _canonical(value), "sha256": manifest_sha256(value)}
            for value in DOCUMENTS
        ],
        "softmax": [
            {"logits": scores, "probabilities": softmax(np.array(scores, np.float32)).tolist()}
            for scores in ([0.0, 0.0], [1.0, -2.0, 3.5], [1000.0, 0.0, -1000.0])
        ],
    }


def _pictures() -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for number, preprocess in enumerate(PREPROCESSINGS):
        width, height = SIZES[number % len(SIZES)]
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        file = io.BytesIO()
        image.save(file, "PNG")
        for each in (preprocess, replace(preprocess, dtype="uint8", layout="NHWC")):
            yield {
                "preprocess": encode(each),
                "png": base64.b64encode(file.getvalue()).decode(),
                "tensor": each(image).tolist(),
            }


def _canonical(value: dict[str, Any]) -> str:
    kept = {key: item for key, item in value.items() if key != HASH}
    return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


if __name__ == "__main__":
    main()
