"""`model.sig`: a signature over every file of a bundle, in the format of OpenSSF Model Signing 1.0.

A Sigstore bundle (0.3) holds a DSSE envelope, whose payload is an in-toto statement, whose predicate lists
each file with its SHA-256. Sources: the OpenSSF Model Signing specification; protocol.md in
github.com/secure-systems-lab/dsse (the bytes that are signed); spec/v1 in github.com/in-toto/attestation.
The `model-signing` package reads what is written here, and the other way round; on a device `cryptography`
is enough.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle.bundle import BROWSERS_FILES, MANIFEST, SIGNATURE, Bundle
from ..bundle.manifest import parse_manifest
from ..errors import BundleError
from ..files import publish_file, sha256_bytes
from .keys import SigningKey, VerifyingKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_SIGNATURE_BYTES = 1 << 20
UNSIGNED = sorted({SIGNATURE, *BROWSERS_FILES, ".git", ".gitattributes", ".github", ".gitignore"})
DO_NOT_USE = "do not use this bundle; get it again from whoever signed it"


@dataclass(frozen=True)
class Signed:
    """A signature whose key is known and whose files are those of the bundle.

    Attributes:
        key: the key that made it.
        files: SHA-256 of each file by name, the manifest among them.
    """

    key: VerifyingKey
    files: Mapping[str, str]


def sign(bundle: Bundle, key: SigningKey) -> Path:
    """Sign every file of a bundle, and write `model.sig` into it, in place of one that was there.

    Args:
        bundle: a bundle, opened, and so verified.
        key: who signs.

    Returns:
        The file.

    Raises:
        BundleError: the bundle has changed since it was opened.
        OutputError: its folder cannot be written.
    """
    statement = json.dumps(_statement(bundle.manifest.name, _files(bundle)), sort_keys=True).encode()
    envelope = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(key.sign(_signed_bytes(statement))).decode(), "keyid": ""}],
    }
    content: dict[str, Any] = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key.hint}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    path = bundle.folder / SIGNATURE
    with publish_file(path) as draft:
        draft.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    return path


def require_signature(bundle: Bundle, keys: Sequence[VerifyingKey]) -> Signed:
    """Hold a bundle to its signature: by one of the keys, and over exactly the files that it has.

    Args:
        bundle: a bundle, opened, and so held to its manifest.
        keys: any of which may have signed; several while one key takes another's place.

    Raises:
        BundleError: there is no signature, it is damaged, another key made it, or it is of other files.
    """
    payload, signature, hint = _parse(_read(bundle.folder / SIGNATURE))
    candidates = [key for key in keys if hint in (key.hint, "")]
    if not candidates:
        raise BundleError(
            "The bundle is signed by another key.",
            wanted=f"a signature by the key of {' or '.join(str(key.path) for key in keys)}",
            todo=f"{DO_NOT_USE}, or name that key with --require-signature",
        )
    key = next((key for key in candidates if key.accepts(signature, _signed_bytes(payload))), None)
    if key is None:
        names = " or ".join(str(each.path) for each in candidates)
        raise BundleError(f"The signature is not one that the key of {names} made.", todo=DO_NOT_USE)
    signed, present = _signed_files(payload), _files(bundle)
    if signed != present:
        different = sorted(name for name in {*signed, *present} if signed.get(name) != present.get(name))
        raise BundleError(
            "The bundle is not what was signed.", got=", ".join(different[:10]), todo=DO_NOT_USE
        )
    return Signed(key, signed)


def open_signed(folder: Path, keys: Sequence[VerifyingKey]) -> Bundle:
    """A bundle, opened, and held to its signature where keys are named; with none, no signature is required.

    Raises:
        BundleError: the bundle does not verify, or its signature does not.
    """
    bundle = Bundle.open(folder)
    if keys:
        require_signature(bundle, keys)
    return bundle


def _files(bundle: Bundle) -> dict[str, str]:
    """SHA-256 of each file, by name in order; the manifest's is of the bytes that it was read from."""
    data = (bundle.folder / MANIFEST).read_bytes()
    if parse_manifest(data.decode("utf-8", errors="replace")) != bundle.manifest:
        raise BundleError(f"{MANIFEST} has changed since the bundle was opened.")
    hashes = {name: entry.sha256 for name, entry in bundle.manifest.files().items()}
    return dict(sorted({**hashes, MANIFEST: sha256_bytes(data)}.items()))


def _statement(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": UNSIGNED,
    }
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in files.items()]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(files)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _root(files: Mapping[str, str]) -> str:
    """The hash of all: SHA-256 over the files' hashes as bytes, one after the other."""
    return sha256_bytes(b"".join(bytes.fromhex(digest) for digest in files.values()))


def _signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def _read(path: Path) -> bytes:
    if not path.is_file() or path.is_symlink():
        raise BundleError(
            f"The bundle has no signature ({SIGNATURE}), and one is required.",
            todo="edgeproof sign BUNDLE --key private.pem   (where it was made); or no --require-signature",
        )
    with path.open("rb") as stream:
        data = stream.read(MAX_SIGNATURE_BYTES + 1)
    if len(data) > MAX_SIGNATURE_BYTES:
        raise _damaged(f"more than {MAX_SIGNATURE_BYTES} bytes")
    return data


def _parse(data: bytes) -> tuple[bytes, bytes, str]:
    """Payload, signature, and the hint at the key."""
    try:
        content = json.loads(data)
        envelope = content["dsseEnvelope"]
        (one,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(one["sig"], validate=True)
        hint = content["verificationMaterial"]["publicKey"].get("hint") or ""
        kinds = (content["mediaType"], envelope["payloadType"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise _damaged("no Sigstore bundle with one signature by a key") from error
    if kinds != (MEDIA_TYPE, PAYLOAD_TYPE):
        raise _damaged(f"{kinds[0]!r:.80} around {kinds[1]!r:.80}", f"{MEDIA_TYPE} around {PAYLOAD_TYPE}")
    return payload, signature, hint


def _signed_files(payload: bytes) -> dict[str, str]:
    """Files and hashes of a statement, whose signature was found good."""
    try:
        statement = json.loads(payload)
        (subject,) = statement["subject"]
        predicate = statement["predicate"]
        resources = [(each["name"], each["algorithm"], each["digest"]) for each in predicate["resources"]]
        files = dict(sorted((str(name), str(digest)) for name, _, digest in resources))
        whole = subject["digest"]["sha256"] == _root(files) and len(files) == len(resources)
        kinds = {statement["_type"], statement["predicateType"], predicate["serialization"]["method"]}
        algorithms = {algorithm for _, algorithm, _ in resources}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged("a statement that lists no files") from error
    if not whole or kinds != {STATEMENT_TYPE, PREDICATE_TYPE, "files"} or algorithms != {"sha256"}:
        raise _damaged("a statement of another kind", f"{PREDICATE_TYPE}, whole files by SHA-256")
    return files


def _damaged(got: str, wanted: str = "") -> BundleError:
    return BundleError(
        f"{SIGNATURE} is no signature that can be checked.", wanted=wanted, got=got, todo=DO_NOT_USE
    )
