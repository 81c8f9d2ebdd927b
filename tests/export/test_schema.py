"""The schemas and vectors in docs/ are the program's own, and tell other readers no more and no less."""

from __future__ import annotations

import base64
import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from edgeproof.export.stages.evidence import Evidence
from edgeproof.runtime.bundle.manifest import HASH, manifest_sha256, parse_manifest
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import BundleError
from edgeproof.runtime.records import decode
from edgeproof.runtime.tasks.classification import softmax

DOCS = Path(__file__).resolve().parents[2] / "docs"
HELD_TO_THE_FILES = ("sha256", "bytes")  # by opening the bundle, not by reading its manifest
OTHERS = ("text", 7, 0.5, True, None, [], {})  # of every type of JSON


def document(name: str) -> dict[str, Any]:
    return json.loads((DOCS / name).read_text())


@pytest.fixture(scope="module")
def manifest(tiny_bundle) -> dict[str, Any]:
    return json.loads((tiny_bundle.folder / "manifest.json").read_text())


def opens(value: dict[str, Any]) -> bool:
    try:
        parse_manifest(json.dumps({**value, HASH: manifest_sha256(value)} if HASH in value else value))
    except BundleError:
        return False
    return True


def changed(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    """Every place of a document, with copies in which it is left out or of another type."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), item
            yield from changed(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield (*path, number), item
            yield from changed(item, (*path, number))


def with_change(whole: dict, path: tuple, replacement: Any) -> dict:
    copied = copy.deepcopy(whole)
    target = copied
    for key in path[:-1]:
        target = target[key]
    if replacement is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = replacement
    return copied


def test_the_files_are_written_by_their_script(script):
    for name, value in script("docs/schema.py").files().items():
        assert document(name) == json.loads(json.dumps(value)), "run `make docs`"


def test_a_bundle_keeps_the_schemas(tiny_bundle, manifest):
    Draft202012Validator(document("manifest.schema.json")).validate(manifest)
    evidence = json.loads((tiny_bundle.folder / "evidence.json").read_text())
    Draft202012Validator(document("evidence.schema.json")).validate(evidence)
    decode(Evidence, evidence)


def test_what_the_program_opens_keeps_the_schema(manifest):
    """No manifest that opens may be one that the schema refuses: each place left out, or of another type."""
    validator = Draft202012Validator(document("manifest.schema.json"))
    opened = refused = 0
    for path, item in changed(manifest):
        for replacement in (..., *OTHERS):
            if (replacement, type(replacement)) == (item, type(item)):
                continue
            if path[-1] in HELD_TO_THE_FILES:
                continue
            value = with_change(manifest, path, replacement)
            valid, found = validator.is_valid(value), opens(value)
            assert valid or not found, (path, replacement)
            opened, refused = opened + found, refused + (not valid)
    assert opened > 50  # keys that may be left out, and plain mappings
    assert refused > 500


def test_a_required_key_is_required_by_both(manifest):
    schema = document("manifest.schema.json")
    validator = Draft202012Validator(schema)
    for key in schema["required"]:
        value = with_change(manifest, (key,), ...)
        assert not validator.is_valid(value)
        assert not opens(value)


@pytest.mark.parametrize("number", range(len(document("vectors.json")["preprocess"])))
def test_pictures_become_the_tensors_of_the_vectors(number):
    vector = document("vectors.json")["preprocess"][number]
    preprocess = decode(Preprocess, vector["preprocess"])
    tensor = preprocess(Image.open(io.BytesIO(base64.b64decode(vector["png"]))))
    assert np.array_equal(tensor, np.array(vector["tensor"], tensor.dtype))


def test_the_float_tensor_follows_from_the_pixels():
    """The document's own formula, in float32, on the pixels of the vector beside it."""
    vectors = document("vectors.json")["preprocess"]
    for floats, pixels in zip(vectors[::2], vectors[1::2], strict=True):
        planes = np.array(pixels["tensor"], np.float32).transpose(2, 0, 1)
        mean, std = (np.float32(floats["preprocess"][key])[:, None, None] for key in ("mean", "std"))
        expected = (planes / np.float32(255) - mean) / std
        assert np.array_equal(expected, np.array(floats["tensor"], np.float32))


def test_canonical_json_and_its_hash():
    for vector in document("vectors.json")["canonical"]:
        kept = {key: value for key, value in vector["value"].items() if key != HASH}
        assert json.loads(vector["canonical"]) == kept
        assert manifest_sha256(vector["value"]) == vector["sha256"]


def test_probabilities_of_logits():
    for vector in document("vectors.json")["softmax"]:
        assert np.allclose(
            softmax(np.array(vector["logits"], np.float32)), vector["probabilities"], atol=1e-7
        )
