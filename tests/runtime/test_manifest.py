import dataclasses
import json

import pytest

from edgeproof.runtime.errors import BundleError
from edgeproof.runtime.manifest import SCHEMA, parse_manifest


def refuse(value):
    """The message with which a manifest, as parsed JSON or as text, is refused."""
    with pytest.raises(BundleError) as caught:
        parse_manifest(value if isinstance(value, str) else json.dumps(value))
    return str(caught.value)


def set_at(value, path, new):
    *parents, last = path
    for key in parents:
        value = value[key]
    value[last] = new


def test_a_manifest_survives_json(bundle):
    manifest = bundle.manifest
    assert parse_manifest(manifest.to_json()) == manifest


def test_its_json_is_plain_and_ends_in_a_newline(bundle):
    text = bundle.manifest.to_json()
    assert text.endswith("}\n")
    assert json.loads(text)["models"]["fp32"]["parity"]["passed"] is True


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_never_holds_nan_or_infinity(bundle, number):
    manifest = dataclasses.replace(bundle.manifest, weights={"loss": number})
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest.to_json()


def test_files_are_the_models_and_the_golden_answers(bundle):
    assert sorted(bundle.manifest.files()) == ["golden.npz", "model.fp16.onnx", "model.fp32.onnx"]


def test_unknown_keys_are_ignored_wherever_they_stand(manifest_json):
    plain = parse_manifest(json.dumps(manifest_json))
    manifest_json["report"] = {"file": "report.html"}
    manifest_json["models"]["fp32"]["parity"]["psnr"] = 40
    assert parse_manifest(json.dumps(manifest_json)) == plain


@pytest.mark.parametrize("key", ["accuracy", "preflight", "kept_float32", "parent"])
def test_proofs_that_were_not_made_may_be_absent(manifest_json, key):
    del manifest_json["models"]["fp32"][key]
    assert not parse_manifest(json.dumps(manifest_json)).models["fp32"].kept_float32


@pytest.mark.parametrize("schema", [SCHEMA + 1, 2**70])
def test_a_newer_schema_says_to_upgrade_whatever_else_it_holds(schema):
    message = refuse({"schema": schema, "models": "of another kind"})
    assert "written by a newer edgeproof" in message
    assert f"schema {SCHEMA} or older" in message
    assert f"schema {schema}" in message
    assert "pip install --upgrade edgeproof" in message


@pytest.mark.parametrize("schema", [0, -1])
def test_a_schema_that_never_was_is_refused(manifest_json, schema):
    manifest_json["schema"] = schema
    assert f"schema {schema}, which never existed" in refuse(manifest_json)


@pytest.mark.parametrize("schema", ["1", 1.0, True, None, [1]])
def test_a_schema_of_another_type_is_refused(manifest_json, schema):
    manifest_json["schema"] = schema
    assert "schema must be int" in refuse(manifest_json)


@pytest.mark.parametrize("text", ["", "{", "{'schema': 1}", "schema: 1", '{"schema": 1} more', "\x00"])
def test_what_is_not_json_is_refused(text):
    assert "manifest.json is not valid JSON" in refuse(text)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"schema"', "true"])
def test_json_that_is_no_object_is_refused(text):
    assert "must be an object" in refuse(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000])
@pytest.mark.parametrize("where", ["weights", "accuracy"])
def test_numbers_that_are_none_are_refused(manifest_json, number, where):
    if where == "weights":
        manifest_json["weights"] = {"loss": "NUMBER"}
    else:
        manifest_json["models"]["fp32"]["accuracy"]["top1"] = "NUMBER"
    assert "manifest.json is not valid JSON" in refuse(json.dumps(manifest_json).replace('"NUMBER"', number))


@pytest.mark.parametrize("bracket", ["[", '{"a":'])
def test_deep_nesting_is_refused(bracket):
    assert "manifest.json is not valid JSON" in refuse('{"schema": 1, "weights": ' + bracket * 200_000)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["name"], 5, "name must be str, not 5"),
        (["labels"], "red", "labels must be a list"),
        (["labels", 1], None, "labels[1] must be str, not None"),
        (["input", "shape", 0], 1.5, "input.shape[0] must be int, not 1.5"),
        (["outputs", 0, "scores"], "votes", "outputs[0].scores must be 'logits' or 'probabilities'"),
        (["preprocess", "std"], [0.5, 0.5, 0], "preprocess: mean must be finite, and std finite and above 0"),
        (["models"], [], "models must be an object"),
        (["models", "fp16"], None, "models.fp16 must be an object"),
        (["models", "fp16", "bytes"], "12", "models.fp16.bytes must be int"),
        (["models", "fp16", "parity", "passed"], "yes", "models.fp16.parity.passed must be bool"),
        (["models", "fp16", "accuracy", "ci95"], [1], "models.fp16.accuracy.ci95 must be a list of 2"),
        (["golden", "file"], 7, "golden.file must be str"),
        (["verdict", "ship"], "fp8", "verdict.ship must be 'fp32' or 'fp16' or 'int8'"),
        (["weights"], None, "weights must be an object"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(manifest_json, path, value, message):
    set_at(manifest_json, path, value)
    text = refuse(manifest_json)
    assert text.startswith(f"manifest.json does not keep schema {SCHEMA}: ")
    assert message in text


@pytest.mark.parametrize("key", ["name", "input", "outputs", "preprocess", "labels", "models", "golden"])
def test_a_missing_section_is_named(manifest_json, key):
    del manifest_json[key]
    assert f"{key} is missing" in refuse(manifest_json)


def test_the_verdict_must_be_among_the_models(manifest_json):
    manifest_json["verdict"]["ship"] = "int8"
    assert "verdict.ship is 'int8', which is not among the models" in refuse(manifest_json)


def test_fp32_must_be_among_the_models(manifest_json):
    del manifest_json["models"]["fp32"]
    assert "models must hold fp32" in refuse(manifest_json)


def test_an_unknown_precision_is_refused(manifest_json):
    manifest_json["models"]["fp8"] = manifest_json["models"]["fp16"]
    assert "may hold fp16 and int8, not ['fp16', 'fp32', 'fp8']" in refuse(manifest_json)


def test_there_must_be_an_output(manifest_json):
    manifest_json["outputs"] = []
    assert "outputs must not be empty" in refuse(manifest_json)


@pytest.mark.parametrize("shape", [["batch", 5], ["batch", "classes"], ["batch"], []])
def test_labels_must_fit_the_first_output(manifest_json, shape):
    manifest_json["outputs"][0]["shape"] = shape
    assert "there are 4 labels for an output of shape" in refuse(manifest_json)
