"""Bundles of older schemas."""

import copy
import json

import numpy as np
import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import SCHEMA, parse_manifest
from edgeproof.runtime.bundle.manifest_upgrade import upgrade_schema_1
from edgeproof.runtime.bundle.summary import summarize
from edgeproof.runtime.errors import BundleError
from edgeproof.runtime.inference.verification import verify


@pytest.fixture
def old(schema_1_folder):
    """The manifest of a bundle of schema 1 as parsed JSON."""
    return json.loads((schema_1_folder / "manifest.json").read_text())


def test_a_bundle_of_schema_1_opens_verifies_and_has_a_summary(schema_1_folder):
    bundle = Bundle.open(schema_1_folder)
    assert bundle.golden().input.shape == (6, 3, 8, 8)
    assert verify(bundle, "fp32")
    assert "fp16 keeps 2 node(s) in float32: conv_1, gemm" in summarize(bundle.manifest)


def test_what_schema_1_did_not_say_is_not_made_up(schema_1_folder):
    manifest = Bundle.open(schema_1_folder).manifest
    assert (manifest.target, manifest.evidence, manifest.pictures, manifest.task) == (None, None, (), None)
    assert manifest.models["fp16"].kept == {"conv_1": "float32", "gemm": "float32"}
    assert manifest.models["fp32"].kept == {}


def test_the_upgrade_changes_nothing_that_it_is_given(old):
    before = copy.deepcopy(old)
    assert upgrade_schema_1(old)["schema"] == SCHEMA
    assert old == before


def test_an_upgraded_manifest_is_written_with_the_hash_that_it_then_needs(schema_1_folder):
    manifest = Bundle.open(schema_1_folder).manifest
    assert parse_manifest(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["schema"] == SCHEMA


def test_schema_1_needs_no_hash_and_knows_no_key_of_schema_2(old):
    old.update(sha256="0" * 64, target="tensorrt", pictures="none", evidence=7)
    assert parse_manifest(json.dumps(old)).target is None


@pytest.mark.parametrize("schema", [2, 2.0, "1", None])
def test_a_bundle_of_schema_1_that_calls_itself_something_else_is_refused(old, schema):
    with pytest.raises(BundleError):
        parse_manifest(json.dumps({**old, "schema": schema}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": None}, "models must be an object"),
        ({"models": {"fp32": None}}, "models.fp32 must be an object"),
        ({"models": {"fp32": {"kept_float32": "gemm"}}}, "models.fp32.kept_float32 must be a list"),
        ({"models": {"fp32": {"kept_float32": [3]}}}, "models.fp32.kept_float32[0] must be str"),
        ({"labels": 5}, "labels must be a list"),
    ],
)
def test_what_does_not_keep_schema_1_is_refused_with_its_path(old, change, message):
    with pytest.raises(BundleError, match="does not keep schema 1") as caught:
        parse_manifest(json.dumps({**old, **change}))
    assert message in str(caught.value)


def test_without_models_it_says_so(old):
    del old["models"]
    with pytest.raises(BundleError, match="models is missing"):
        parse_manifest(json.dumps(old))


def test_the_golden_answers_are_still_those_of_the_network(schema_1_folder):
    golden = Bundle.open(schema_1_folder).golden()
    assert np.ptp(golden.outputs["scores"]) > 1
