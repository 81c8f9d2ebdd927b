"""A slot: the folder on a device that holds the bundle in use, and those from which one can go back.

    SLOT/current -> versions/000003      one symbolic link, which a single rename switches
    SLOT/newest.json                     the newest bundle that was ever installed
    SLOT/versions/000003/bundle/         a whole, verified bundle
    SLOT/versions/000003/installed.json  when and how it was installed, and what stood there before

Whatever is killed, and whenever: `current` names a whole version, the old one or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, InputError, OutputError
from ..files import publish_file, sync
from ..records import Record, decode, encode

CURRENT, VERSIONS, NEWEST = "current", "versions", "newest.json"
BUNDLE, RECORD, LOCK = "bundle", "installed.json", ".lock"
VERSION = re.compile(r"\d{6}")
KEPT = 3  # versions that stay: that in use, and those to go back to
MAX_RECORD_BYTES = 1 << 16


@dataclass(frozen=True)
class Release:
    """Which export a bundle is.

    Attributes:
        name: of the model.
        created: when it was exported, in UTC as ISO 8601; a later export has a greater one.
        manifest: SHA-256 of its manifest.json.
    """

    name: str
    created: str
    manifest: str


@dataclass(frozen=True)
class Installed:
    """One version of a slot.

    Attributes:
        version: its number, such as "000003".
        release: which export it is.
        provider, precision: on which its golden inputs were replayed, and in which precision.
        previous: the version that stood there before; None for the first.
        signed_by: hint of the key whose signature was required; None where none was.
    """

    version: str
    release: Release
    provider: str
    precision: str
    previous: str | None = None
    signed_by: str | None = None


class Slot:
    """A slot on disk; it may not exist yet.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.versions = self.folder / VERSIONS

    @classmethod
    def at(cls, folder: Path) -> Slot | None:
        """The slot in a folder, or None where it is none, such as a bundle."""
        return cls(folder) if (folder / CURRENT).is_symlink() else None

    @property
    def current(self) -> str | None:
        """The version in use; None while nothing is installed.

        Raises:
            BundleError: the link leads to no version of this slot.
        """
        link = self.folder / CURRENT
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _foreign(link, "no symbolic link") from error
        parent, _, version = target.rpartition("/")
        if parent != VERSIONS or not VERSION.fullmatch(version):
            raise _foreign(link, target)
        return version

    def bundle(self, version: str) -> Path:
        """Folder of a version's bundle."""
        return self.versions / version / BUNDLE

    def installed(self, version: str) -> Installed:
        """What was recorded of a version.

        Raises:
            BundleError: the record is missing or damaged.
        """
        return _read(Installed, self.versions / version / RECORD)

    def newest(self) -> Release | None:
        """The newest export that was ever installed here; None before the first.

        Raises:
            BundleError: the record is damaged.
        """
        path = self.folder / NEWEST
        return _read(Release, path) if path.exists() else None

    def next_version(self) -> str:
        """The number after all that are there."""
        return f"{max((int(name) for name in self._names()), default=0) + 1:06d}"

    def record(self, folder: Path, installed: Installed) -> None:
        """Write what is known of a version into its folder."""
        _write(folder / RECORD, encode(installed))

    def note_newest(self, release: Release) -> None:
        """Remember an export, where none newer was installed before."""
        newest = self.newest()
        if newest is None or newest.created < release.created:
            _write(self.folder / NEWEST, encode(release))

    def switch(self, version: str) -> None:
        """Let `current` name a version: by one rename, and then on disk for certain."""
        draft = self.folder / f".{CURRENT}.{os.getpid()}"
        draft.unlink(missing_ok=True)
        draft.symlink_to(f"{VERSIONS}/{version}")
        draft.replace(self.folder / CURRENT)
        sync(self.folder)

    def prune(self) -> None:
        """Remove what no one goes back to: drafts, and all versions but the last ones of the chain."""
        kept, version = set(), self.current
        while version is not None and len(kept) < KEPT and version in self._names():
            kept.add(version)
            try:
                version = self.installed(version).previous
            except BundleError:  # no one can go back through it
                break
        for entry in self.versions.iterdir():
            if entry.name not in kept:
                shutil.rmtree(entry, ignore_errors=True)
        for draft in self.folder.glob(f".{CURRENT}.*"):
            draft.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the slot; the lock goes with the process that holds it.

        Raises:
            InputError: another process is changing it.
            OutputError: the folder cannot be made or written.
        """
        try:
            self.versions.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(f"The slot {self.folder} cannot be written.", got=str(error)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise InputError(
                f"Another process is changing the slot {self.folder}.", todo="wait until it is done"
            ) from error
        finally:
            os.close(handle)

    def _names(self) -> list[str]:
        return [entry.name for entry in self.versions.iterdir() if VERSION.fullmatch(entry.name)]


def nothing_installed(slot: Slot) -> InputError:
    """The error of a slot that is empty."""
    return InputError(f"Nothing is installed in {slot.folder}.", todo="edgeproof install BUNDLE --slot DIR")


def _foreign(link: Path, got: str) -> BundleError:
    return BundleError(
        f"{link} is not what `edgeproof install` makes.",
        wanted=f"a symbolic link to {VERSIONS}/NUMBER",
        got=got,
        todo="name another folder with --slot",
    )


def _read(kind: type[Record], path: Path) -> Record:
    try:
        with path.open("rb") as stream:
            return decode(kind, json.loads(stream.read(MAX_RECORD_BYTES)))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read: {error}", todo="install the bundle again") from error


def _write(path: Path, content: object) -> None:
    with publish_file(path) as draft:
        draft.write_text(json.dumps(content, indent=2), encoding="utf-8")
        sync(draft)
    sync(path.parent)
