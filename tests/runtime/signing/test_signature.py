"""Signatures: what they hold a bundle to, and that the `model-signing` package agrees both ways."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_signing import signing as their_signing
from model_signing import verifying as their_verifying

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.errors import BundleError
from edgeproof.runtime.signing.keys import read_private_key, read_public_key
from edgeproof.runtime.signing.signature import require_signature, sign


@pytest.fixture
def keys(make_key):
    return make_key()


@pytest.fixture
def signed_bundle(bundle, keys):
    """A signed bundle, and the public key."""
    sign(bundle, read_private_key(keys[0]))
    return Bundle.open(bundle.folder), read_public_key(keys[1])


def test_a_signed_bundle_opens_and_is_held_to_its_key(signed_bundle):
    bundle, key = signed_bundle
    found = require_signature(bundle, [key])
    assert found.key is key
    assert set(found.files) == {*bundle.manifest.files(), "manifest.json"}


def test_several_keys_may_be_named_while_one_takes_anothers_place(signed_bundle, make_key):
    bundle, key = signed_bundle
    other = read_public_key(make_key()[1])
    assert require_signature(bundle, [other, key]).key is key
    with pytest.raises(BundleError, match="signed by another key"):
        require_signature(bundle, [other])


def test_a_bundle_without_a_signature_is_refused(bundle, keys):
    with pytest.raises(BundleError, match="has no signature"):
        require_signature(bundle, [read_public_key(keys[1])])


def test_a_changed_bundle_is_refused_though_its_own_hashes_hold(signed_bundle, replace_file):
    """Whoever changes a file can mend the manifest too; the signature is what they cannot make."""
    bundle, key = signed_bundle
    replace_file(bundle.folder, "model.fp32.onnx", b"another model")
    with pytest.raises(BundleError, match="not what was signed") as caught:
        require_signature(Bundle.open(bundle.folder), [key])
    assert "manifest.json, model.fp32.onnx" in str(caught.value)


def test_a_manifest_that_changes_after_it_was_read_is_refused(signed_bundle, edit_manifest):
    bundle, key = signed_bundle
    edit_manifest(bundle.folder, lambda manifest: manifest.update(name="another"))
    with pytest.raises(BundleError, match="changed since"):
        require_signature(bundle, [key])


def test_a_signature_of_another_bundle_is_refused(signed_bundle, write_bundle, tmp_path):
    bundle, key = signed_bundle
    other = write_bundle(tmp_path / "other", name="other")
    (other / "model.sig").write_bytes((bundle.folder / "model.sig").read_bytes())
    with pytest.raises(BundleError, match="not what was signed"):
        require_signature(Bundle.open(other), [key])


def test_a_forged_hint_does_not_help(signed_bundle, make_key):
    bundle, _ = signed_bundle
    path = bundle.folder / "model.sig"
    content = json.loads(path.read_text())
    other = read_public_key(make_key()[1])
    content["verificationMaterial"]["publicKey"]["hint"] = other.hint
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="not one that the key of"):
        require_signature(bundle, [other])


def test_a_link_is_no_signature(signed_bundle, tmp_path):
    bundle, key = signed_bundle
    path = bundle.folder / "model.sig"
    path.rename(tmp_path / "elsewhere.sig")
    path.symlink_to(tmp_path / "elsewhere.sig")
    with pytest.raises(BundleError, match="has no signature"):
        require_signature(bundle, [key])


def test_model_signing_verifies_what_is_signed_here(signed_bundle, keys):
    bundle, _ = signed_bundle
    verifier = their_verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    verifier.verify(bundle.folder, bundle.folder / "model.sig")
    (bundle.folder / "model.fp32.onnx").write_bytes(b"another model")
    with pytest.raises(ValueError, match=r"fp32"):
        verifier.verify(bundle.folder, bundle.folder / "model.sig")


def test_what_model_signing_signs_is_verified_here(bundle, keys):
    path = bundle.folder / "model.sig"
    their_signing.Config().use_elliptic_key_signer(private_key=keys[0]).sign(bundle.folder, path)
    key = read_public_key(keys[1])
    assert require_signature(Bundle.open(bundle.folder), [key]).key is key


def test_what_a_file_browser_leaves_behind_is_not_signed(signed_bundle, keys):
    bundle, key = signed_bundle
    (bundle.folder / ".DS_Store").write_bytes(b"browser")
    assert require_signature(Bundle.open(bundle.folder), [key])
    verifier = their_verifying.Config().use_elliptic_key_verifier(public_key=keys[1])
    verifier.verify(bundle.folder, bundle.folder / "model.sig")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(mediaType="application/json"),
        lambda content: content.pop("dsseEnvelope"),
        lambda content: content["dsseEnvelope"].update(payloadType="text/plain"),
        lambda content: content["dsseEnvelope"].update(payload="%%"),
        lambda content: content["dsseEnvelope"].update(signatures=[]),
        lambda content: content["dsseEnvelope"]["signatures"].append({"sig": ""}),
        lambda content: content.update(verificationMaterial=[]),
    ],
)
def test_a_damaged_signature_is_refused(signed_bundle, change):
    bundle, key = signed_bundle
    path = bundle.folder / "model.sig"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="no signature that can be checked"):
        require_signature(bundle, [key])


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda statement: statement.update(subject=[]),
        lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64),
        lambda statement: statement["predicate"]["resources"].append(statement["predicate"]["resources"][0]),
        lambda statement: statement["predicate"]["resources"][0].update(algorithm="blake2"),
        lambda statement: statement["predicate"]["serialization"].update(method="shards"),
        lambda statement: statement["predicate"].update(resources=None),
    ],
)
def test_a_statement_of_another_kind_is_refused_though_its_signature_is_good(signed_bundle, keys, change):
    bundle, key = signed_bundle
    path = bundle.folder / "model.sig"
    content = json.loads(path.read_text())
    envelope = content["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    kind = envelope["payloadType"]
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(read_private_key(keys[0]).sign(signed)).decode()
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="no signature that can be checked"):
        require_signature(bundle, [key])


@pytest.fixture(scope="module")
def pair(tmp_path_factory, write_bundle, make_key):
    """A signed bundle, and the public key."""
    private, public = make_key()
    bundle = Bundle.open(write_bundle(tmp_path_factory.mktemp("signed") / "bundle"))
    sign(bundle, read_private_key(private))
    return bundle, read_public_key(public)


@settings(max_examples=300)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_means_the_same(pair, place, byte):
    """JSON has bytes that mean nothing (blanks, the unsigned `tlogEntries`); no other may change."""
    bundle, key = pair
    path = bundle.folder / "model.sig"
    good, wanted = path.read_bytes(), require_signature(bundle, [key])
    changed = bytearray(good)
    changed[int(place * len(good))] = byte
    path.write_bytes(changed)
    try:
        assert require_signature(bundle, [key]) == wanted
    except BundleError:
        pass
    finally:
        path.write_bytes(good)
