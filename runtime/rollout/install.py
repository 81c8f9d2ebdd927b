"""Installing a bundle into a slot, and going back: proven on this device, then switched by one rename."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..bundle.bundle import MANIFEST, SIGNATURE, Bundle
from ..errors import InputError, OutputError, ProofError
from ..files import publish_folder, sha256_file, sync
from ..inference.verification import Replay, replay_line, verify
from ..providers.request import ProviderRequest
from ..signing.keys import VerifyingKey
from ..signing.signature import open_signed, require_signature
from .slot import BUNDLE, Installed, Release, Slot, nothing_installed


def install(
    source: Path | str,
    slot: Slot,
    request: ProviderRequest | None = None,
    keys: Sequence[VerifyingKey] = (),
    *,
    allow_older: bool = False,
) -> Installed:
    """Copy a bundle into a slot, prove the copy here, and switch to it.

    The copy is opened, its signature checked, its model opened on the provider that will run it (which
    compiles the engine), and its golden inputs replayed there. Only then does the slot change.

    Args:
        source: the bundle.
        slot: where to. Another process may be running what is installed there.
        request: where and how the bundle will be run; as for `run`.
        keys: public keys, one of which must have signed it; with none, no signature is required.
        allow_older: take an export that is older than one that was installed before. Else it is refused, as
            a signed bundle with a known fault could be offered again (The Update Framework, 5.4, rollback).

    Raises:
        BundleError: the bundle does not verify, or its signature does not.
        InputError: it is older, or another process changes the slot.
        ProofError: this device does not give PyTorch's answers.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
        OutputError: the slot cannot be written.
    """
    original = Bundle.open(source)
    with slot.locked(), _said_if_full(slot):
        version, previous = slot.next_version(), slot.current
        with publish_folder(slot.versions / version) as draft:
            bundle = _copied(original, draft / BUNDLE)
            signed_by = require_signature(bundle, keys).key.hint if keys else None
            release = _release(bundle)
            if not allow_older:
                _refuse_older(release, slot)
            proof = _proven(bundle, request or ProviderRequest())
            installed = Installed(version, release, proof.provider, proof.precision, previous, signed_by)
            slot.record(draft, installed)
            sync(draft)
        sync(slot.versions)
        slot.note_newest(release)
        slot.switch(version)
        slot.prune()
    return installed


def rollback(
    slot: Slot, request: ProviderRequest | None = None, keys: Sequence[VerifyingKey] = ()
) -> Installed:
    """Switch a slot to the version that stood there before, after proving it once more.

    Args:
        slot, request, keys: as for `install`.

    Raises:
        InputError: there is no version to go back to, or another process changes the slot.
        BundleError, ProofError, PlacementError: that version does not hold any more; the slot stays as it is.
    """
    with slot.locked():
        if slot.current is None:
            raise nothing_installed(slot)
        previous = slot.installed(slot.current).previous
        if previous is None or not slot.bundle(previous).is_dir():
            raise InputError(f"{slot.folder} holds no version from before {slot.current}.")
        _proven(open_signed(slot.bundle(previous), keys), request or ProviderRequest())
        slot.switch(previous)
    return slot.installed(previous)


@contextmanager
def _said_if_full(slot: Slot) -> Iterator[None]:
    """An error of edgeproof's own where the disk takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        message = f"The slot {slot.folder} cannot take the bundle."
        raise OutputError(message, got=error.strerror or "") from error


def _copied(original: Bundle, target: Path) -> Bundle:
    """A copy that is on disk for certain, opened and so verified anew."""
    target.mkdir()
    names = [*original.manifest.files(), MANIFEST]
    names += [SIGNATURE] if (original.folder / SIGNATURE).is_file() else []
    for name in names:
        shutil.copyfile(original.folder / name, target / name, follow_symlinks=False)
        sync(target / name)
    sync(target)
    return Bundle.open(target)


def _release(bundle: Bundle) -> Release:
    manifest = bundle.manifest
    return Release(manifest.name, manifest.created, sha256_file(bundle.folder / MANIFEST))


def _refuse_older(release: Release, slot: Slot) -> None:
    newest = slot.newest()
    if newest is not None and release.created < newest.created:
        raise InputError(
            "The bundle is older than one that was installed here before.",
            wanted=f"an export of {newest.created} or later",
            got=release.created,
            todo="edgeproof rollback --slot DIR   (to go back), or --allow-older",
        )


def _proven(bundle: Bundle, request: ProviderRequest) -> Replay:
    """The replay on the provider that will run the bundle, whose engine this compiles."""
    found = verify(bundle, request.precision, request)
    if not found:
        raise ProofError(
            "The bundle does not give PyTorch's answers on this device; the slot stays as it is.",
            got=f"{found.precision}: {replay_line(found)}",
            todo="edgeproof verify BUNDLE",
        )
    return found
