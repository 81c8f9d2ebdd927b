"""Elliptic-curve keys in PEM files, as OpenSSL writes them. Needs the package `cryptography` alone.

No message of this module shows anything of a key but the path of its file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

MAX_KEY_BYTES = 1 << 16
CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
MAKE_A_KEY = (
    "openssl ecparam -genkey -name prime256v1 -noout -out private.pem && "
    "openssl ec -in private.pem -pubout -out public.pem"
)


@dataclass(frozen=True)
class VerifyingKey:
    """A public key.

    Attributes:
        path: where it was read.
        hint: SHA-256 of its PEM form, by which a signature names the key that made it.
    """

    path: Path
    hint: str
    _key: EllipticCurvePublicKey

    def accepts(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key's private half made the signature (ECDSA, in DER) of these bytes."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, signed, _algorithm(self._key.curve.name))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A private key, whose contents no representation shows.

    Attributes:
        hint: of its public half, as `VerifyingKey.hint`.
    """

    hint: str
    _key: EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"SigningKey(hint={self.hint!r})"

    def sign(self, data: bytes) -> bytes:
        """The signature of these bytes: ECDSA, in DER."""
        return self._key.sign(data, _algorithm(self._key.curve.name))


def read_public_key(path: Path) -> VerifyingKey:
    """A public key from a PEM file.

    Raises:
        InputError: there is no such file, or it holds no public key on one of the three NIST curves.
        MissingDependency: `cryptography` is not installed.
    """
    _require_cryptography("Checking a signature")
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path, "a public key")
    try:
        key = load_pem_public_key(data)
    except Exception as error:  # cryptography raises several kinds of its own
        raise _no_key(path, "a public key") from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise _no_key(path, "a public key")
    return VerifyingKey(path, _hint(key), key)


def read_private_key(path: Path, password: str | None = None) -> SigningKey:
    """A private key from a PEM file.

    Args:
        path: the file.
        password: of an encrypted file.

    Raises:
        InputError: there is no such file, the password is wrong or missing, or it holds no private key on one
            of the three NIST curves.
        MissingDependency: `cryptography` is not installed.
    """
    _require_cryptography("Signing")
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path, "a private key")
    try:
        key = load_pem_private_key(data, password.encode() if password else None)
    except TypeError as error:  # encrypted and no password, or the other way round
        said = "it is encrypted" if password is None else "it is not encrypted, and a password was given"
        todo = "set the environment variable EDGEPROOF_KEY_PASSWORD, or unset it"
        raise InputError(f"The key {path} cannot be opened.", got=said, todo=todo) from error
    except Exception as error:
        raise _no_key(path, "a private key") from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise _no_key(path, "a private key")
    return SigningKey(_hint(key.public_key()), key)


def _require_cryptography(purpose: str) -> None:
    if find_spec("cryptography") is None:
        raise MissingDependency("cryptography", "signing", purpose)


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        got = error.strerror or str(error)
        raise InputError(f"The key {path} cannot be read.", wanted=what, got=got) from error
    if len(data) > MAX_KEY_BYTES:
        raise InputError(f"{path} is too large for a key.", wanted=f"at most {MAX_KEY_BYTES} bytes")
    return data


def _no_key(path: Path, what: str) -> InputError:
    return InputError(
        f"{path} holds no key that can be used.",
        wanted=f"{what} in PEM, on one of the curves {', '.join(CURVES)}",
        todo=MAKE_A_KEY,
    )


def _hint(key: EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _algorithm(curve: str) -> ECDSA:
    """The hash goes by the curve, as Sigstore's specification of signing schemes has it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(getattr(hashes, CURVES[curve])())
