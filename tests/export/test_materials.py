"""The bill of materials: whole, in the standard's format, and the same each time."""

import json
from importlib.metadata import version

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgeproof.export.materials import BILL, bill_of_materials


@pytest.fixture(scope="module")
def bill(tiny_bundle):
    return json.loads((tiny_bundle.folder / BILL).read_text())


def test_it_keeps_the_standards_schema(tiny_bundle):
    text = (tiny_bundle.folder / BILL).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_names_the_models_and_the_packages_that_made_them(tiny_bundle, bill):
    models = {each["name"]: each for each in bill["components"] if each["type"] != "library"}
    assert {name: each["hashes"][0]["content"] for name, each in models.items()} == {
        entry.file: entry.sha256 for entry in tiny_bundle.manifest.models.values()
    }
    packages = {each["name"]: each for each in bill["components"] if each["type"] == "library"}
    for name in ("edgeproof", "torch", "onnx", "onnxsim", "numpy", "safetensors"):
        assert packages[name]["version"] == version(name)
        assert packages[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert any(name.startswith("onnxruntime") for name in packages)
    assert "pytest" not in packages, "what only tests it did not make it"


def test_it_is_the_same_each_time(tiny_bundle):
    models = tiny_bundle.manifest.models
    assert bill_of_materials("x", models) == bill_of_materials("x", models)


def test_every_package_says_its_licence(bill):
    licences = [each["licenses"][0] for each in bill["components"] if each["type"] == "library"]
    assert all("expression" in each or each["license"]["name"] for each in licences)
