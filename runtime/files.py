"""Hashes, and writing that either happens whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


def sha256_bytes(data: bytes | memoryview) -> str:
    """SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Have a file's contents, or a folder's entries, on disk before going on: a device may lose its power.

    Raises:
        OSError: the disk does not take them.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def publish_file(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to; rename it onto `target` when the block succeeds.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    folder = _writable_parent(target)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=folder)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def publish_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target`; rename it to `target` when the block succeeds.

    What stood at `target` is kept until the new folder is in its place, and put back if the rename
    fails; whether it may be replaced at all is for `ensure_can_publish` to say beforehand. On any
    error, an interrupt included, the draft is removed and `target` is as it was.

    Raises:
        OutputError: the parent folder cannot be made or written.
    """
    parent = _writable_parent(target)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=parent))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        _swap_in(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def ensure_can_publish(target: Path, *, force: bool, replaceable: Callable[[Path], bool], what: str) -> None:
    """Refuse early, before any work, a target that cannot or must not be written.

    Args:
        target: the folder to be published.
        force: whether the user allowed an existing one to be replaced.
        replaceable: tells whether an existing folder is of the kind that `force` may replace.
        what: that kind, for the message ("an edgeproof bundle").

    Raises:
        OutputError: the target exists and may not be replaced, or its parent cannot be written.
    """
    if target.name in ("", "..") or target.resolve() == Path.cwd():
        raise OutputError(
            f"The output {target} is the folder that edgeproof runs in, which cannot be replaced.",
            todo="give a folder of its own with --out DIR",
        )
    if target.is_symlink() or target.exists():
        empty = target.is_dir() and not target.is_symlink() and not any(target.iterdir())
        ours = not target.is_symlink() and target.is_dir() and replaceable(target)
        if not empty and not ours:
            raise OutputError(
                f"The output {target} exists and is not {what}; it is left as it is.",
                todo="give another place with --out DIR",
            )
        if not empty and not force:
            raise OutputError(
                f"The output {target} exists already.",
                todo="pass --force to replace it, or give another place with --out DIR",
            )
    parent = target.absolute().parent
    while not parent.exists():
        parent = parent.parent
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise _cannot_write(parent, error) from error


def _swap_in(draft: Path, target: Path) -> None:
    """Exchange the two in one step where the system can, so that one of them is there at every instant."""
    if not target.exists():
        draft.rename(target)
        return
    if _exchange(draft, target):
        return
    previous = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    try:
        target.rename(previous / "kept")
        try:
            draft.rename(target)
        except BaseException:
            (previous / "kept").rename(target)
            raise
    finally:
        shutil.rmtree(previous, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Linux's renameat2 with RENAME_EXCHANGE; False where the system or the file system does not know it."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return exchange(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), both) == 0


def _writable_parent(target: Path) -> Path:
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(parent, error) from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _cannot_write(parent, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    return parent


def _cannot_write(folder: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The folder {folder} cannot be written.",
        got=error.strerror or str(error),
        todo="give a place that can be written, or change its permissions",
    )


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
