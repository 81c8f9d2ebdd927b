import copy
import dataclasses
import hashlib
import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgeproof.runtime.bundle.manifest import (
    SCHEMA,
    FileEntry,
    ModelEntry,
    PictureEntry,
    Preflight,
    manifest_sha256,
    parse_manifest,
)
from edgeproof.runtime.errors import BundleError
from edgeproof.runtime.testing import fake_bundle


def refuse(value):
    """The message with which a manifest, as text or as parsed JSON that gets its hash, is refused."""
    if not isinstance(value, str):
        value = json.dumps({**value, "sha256": manifest_sha256(value)})
    with pytest.raises(BundleError) as caught:
        parse_manifest(value)
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


def test_files_are_also_the_pictures_and_the_evidence(bundle):
    pictures = (PictureEntry("golden-0.png", "0" * 64, 1, "red"),)
    evidence = FileEntry("evidence.json", "0" * 64, 1)
    manifest = dataclasses.replace(bundle.manifest, pictures=pictures, evidence=evidence)
    assert {"golden-0.png", "evidence.json"} < set(manifest.files())
    assert parse_manifest(manifest.to_json()) == manifest


def test_unknown_keys_are_ignored_wherever_they_stand(manifest_json, signed):
    plain = parse_manifest(json.dumps(manifest_json))
    manifest_json["remarks"] = {"file": "remarks.html"}
    manifest_json["models"]["fp32"]["parity"]["psnr"] = 40
    assert parse_manifest(signed(manifest_json)) == plain


@pytest.mark.parametrize("key", ["accuracy", "preflight", "kept", "parent"])
def test_proofs_that_were_not_made_may_be_absent(manifest_json, signed, key):
    del manifest_json["models"]["fp32"][key]
    assert not parse_manifest(signed(manifest_json)).models["fp32"].kept


# --- its own hash -----------------------------------------------------------------------------------


def test_the_hash_is_that_of_the_canonical_json_as_documented():
    value = {
        "b": [1, -0.0, 1.0, 1e-7, 1e16, 123456789.125, True, None],
        "a": {"ü": 'tab\tquote" slash/ ☃ \u007f'},
        "sha256": "not hashed",
        "B": 0,
    }
    canonical = (
        '{"B":0,"a":{"ü":"tab\\tquote\\" slash/ ☃ \u007f"},'
        '"b":[1,-0.0,1.0,1e-07,1e+16,123456789.125,true,null]}'
    )
    assert manifest_sha256(value) == hashlib.sha256(canonical.encode()).hexdigest()


SHORT = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: '"', 92: "\\"}


def by_the_document(value):
    """Canonical JSON as docs/bundle.md describes it, without Python's json."""
    if isinstance(value, dict):
        entries = sorted(value.items(), key=lambda entry: [ord(letter) for letter in entry[0]])
        return "{" + ",".join(f"{by_the_document(k)}:{by_the_document(v)}" for k, v in entries) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(by_the_document, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(map(escaped, value)) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def escaped(letter):
    if ord(letter) in SHORT:
        return "\\" + SHORT[ord(letter)]
    return letter if ord(letter) >= 0x20 else f"\\u{ord(letter):04x}"


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_value))
def test_an_implementation_of_the_document_finds_the_same_hash(value):
    value.pop("sha256", None)
    assert manifest_sha256(value) == hashlib.sha256(by_the_document(value).encode()).hexdigest()


def test_the_order_of_keys_and_the_layout_are_free(manifest_json):
    wanted = parse_manifest(json.dumps(manifest_json))
    turned = dict(reversed(manifest_json.items()))
    assert parse_manifest(json.dumps(turned, indent=5)) == wanted
    assert parse_manifest(json.dumps(manifest_json, ensure_ascii=False, separators=(",", ":"))) == wanted


def leaves(value, path=()):
    """The path of every value that is neither an object nor a list."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    nested = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return nested if isinstance(value, (dict, list)) else [path]


FAKE = json.loads(dataclasses.replace(fake_bundle().manifest, weights={"top1": 97.5, "note": None}).to_json())
LEAVES = [leaf for leaf in leaves(FAKE) if leaf != ("schema",)]
json_leaf = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


@given(path=st.sampled_from(LEAVES), new=json_leaf)
def test_any_changed_value_is_noticed(path, new):
    changed = copy.deepcopy(FAKE)
    set_at(changed, path, new)
    assume(json.dumps(changed) != json.dumps(FAKE))
    with pytest.raises(BundleError, match=r"manifest.json was changed after it was written"):
        parse_manifest(json.dumps(changed))


@pytest.mark.parametrize(
    ("path", "new"), [(["preprocess", "mean", 0], 0.485), (["labels", 2], "azure"), (["sha256"], "0" * 64)]
)
def test_a_changed_mean_label_or_hash_is_noticed_with_both_hashes(manifest_json, path, new):
    set_at(manifest_json, path, new)
    with pytest.raises(BundleError, match="was changed after it was written") as caught:
        parse_manifest(json.dumps(manifest_json))
    assert manifest_json["sha256"] in str(caught.value)
    assert manifest_sha256(manifest_json) in str(caught.value)
    assert "export it again" in str(caught.value)


def test_a_key_that_was_added_or_taken_away_is_noticed_though_no_reader_knows_it(manifest_json, signed):
    text = signed({**manifest_json, "remarks": {"file": "remarks.html"}})
    parse_manifest(text)
    for changed in (text.replace("remarks.html", "remarks.htm"), text.replace('"remarks"', '"remark"')):
        with pytest.raises(BundleError, match="was changed"):
            parse_manifest(changed)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text())
def test_every_value_keeps_its_hash_through_json(value):
    written = {"value": value}
    assert manifest_sha256(json.loads(json.dumps(written))) == manifest_sha256(written)
    assert manifest_sha256(json.loads(json.dumps(written, ensure_ascii=False))) == manifest_sha256(written)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_no_number_has_no_hash(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest_sha256({"mean": number})


def test_a_manifest_without_its_hash_is_refused(manifest_json):
    del manifest_json["sha256"]
    with pytest.raises(BundleError, match="does not hold its own hash"):
        parse_manifest(json.dumps(manifest_json))


def test_a_key_that_stands_twice_is_refused(manifest_json):
    text = json.dumps(manifest_json).replace('"std":', '"mean": [0, 0, 0], "std":')
    assert "names the same key twice" in refuse(text)


def test_a_string_that_is_no_text_is_refused(manifest_json):
    assert "is not valid JSON" in refuse(json.dumps(manifest_json).replace("colours", "\\ud800"))


# --- schemas ----------------------------------------------------------------------------------------


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


PICTURE = {"file": "golden-0.png", "sha256": "0" * 64, "bytes": 9, "label": "red"}


def test_pictures_need_a_preprocessing(manifest_json):
    manifest_json.update(preprocess=None, pictures=[PICTURE])
    assert "there are pictures, and no preprocess" in refuse(manifest_json)


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
        (
            ["models", "fp16", "kept"],
            {"gemm": "bf16"},
            "kept.gemm must be 'float32' or 'float16', not 'bf16'",
        ),
        (["models", "fp16", "kept"], ["gemm"], "models.fp16.kept must be an object"),
        (["target"], 3, "target must be str, not 3"),
        (["target"], "tensorrt", "target is 'tensorrt', and there is no INT8 model"),
        (["evidence"], "evidence.json", "evidence must be an object"),
        (["pictures"], None, "pictures must be a list"),
        (["pictures"], [{"file": "a.png", "sha256": "0"}], "pictures[0].bytes is missing"),
        (["pictures"], [PICTURE, PICTURE], "two entries name the same file"),
        (
            ["pictures"],
            [{**PICTURE, "label": "mauve"}],
            "golden-0.png has the label 'mauve', which is no class",
        ),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(manifest_json, path, value, message):
    set_at(manifest_json, path, value)
    text = refuse(manifest_json)
    assert text.startswith(f"manifest.json does not keep schema {SCHEMA}: ")
    assert message in text


SECTIONS = ["name", "input", "outputs", "preprocess", "labels", "models", "target", "pictures", "evidence"]


@pytest.mark.parametrize("key", [*SECTIONS, "golden"])
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


def test_a_model_that_nobody_compiled_says_so(bundle):
    entry = bundle.manifest.models["fp32"]
    plain = ModelEntry(entry.file, entry.sha256, entry.bytes, entry.nodes, entry.parity)
    assert plain.preflight == Preflight(None, None, "not checked")
    assert (plain.accuracy, dict(plain.kept), plain.parent) == (None, {}, None)
