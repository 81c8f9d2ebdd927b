"""Keys: which are taken, and that no message shows one."""

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edgeproof.runtime.errors import InputError, MissingDependency
from edgeproof.runtime.signing.keys import read_private_key, read_public_key

PASSWORD = "correct horse"  # noqa: S105 - of keys that the tests make


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_the_public_half_accepts_what_the_private_one_signed(make_key, curve):
    private, public = make_key(curve)
    signing, verifying = read_private_key(private), read_public_key(public)
    signature = signing.sign(b"these bytes")
    assert verifying.accepts(signature, b"these bytes")
    assert not verifying.accepts(signature, b"other bytes")
    assert not verifying.accepts(signature[:-1], b"these bytes")
    assert signing.hint == verifying.hint


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256K1()),
    ],
)
def test_keys_of_other_kinds_are_refused(tmp_path, key):
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(InputError, match="no key that can be used"):
        read_private_key(path)
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="secp256r1"):
        read_public_key(path)


def test_an_encrypted_key_takes_its_password(make_key):
    private, _ = make_key(secret=PASSWORD)
    assert read_private_key(private, PASSWORD).hint
    with pytest.raises(InputError, match="EDGEPROOF_KEY_PASSWORD"):
        read_private_key(private)
    with pytest.raises(InputError, match="no key that can be used"):
        read_private_key(private, "wrong")
    with pytest.raises(InputError, match="not encrypted"):
        read_private_key(make_key()[0], PASSWORD)


def test_no_message_shows_a_key(make_key, tmp_path):
    private, _ = make_key()
    secret = private.read_text().splitlines()[1]
    (tmp_path / "half.pem").write_text(private.read_text()[:80])
    for path, read in ((private, read_public_key), (tmp_path / "half.pem", read_private_key)):
        with pytest.raises(InputError) as caught:
            read(path)
        assert secret[:10] not in str(caught.value)
    assert secret not in repr(read_private_key(private))


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"-----BEGIN PUBLIC KEY-----\n", b"x" * (1 << 17)])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    for read in (read_public_key, read_private_key):
        with pytest.raises(InputError):
            read(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_public_key(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read_public_key(tmp_path / "absent.pem")


def test_without_the_package_the_extra_is_named(make_key, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setattr("edgeproof.runtime.signing.keys.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"edgeproof\[signing\]"):
        read_public_key(make_key()[1])
