"""Compiled engines, kept for exactly the machine and the model that they were compiled for.

An engine of another model, TensorRT, driver or GPU would be refused, or compute wrongly. So each is kept in a
folder that is named by a hash of everything it depends on. The same is written in a file beside it, and
compared before the engine is used. A folder is published whole or not at all, and a lock lets one process
compile while others that need the same engine wait.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError, PlacementError
from ..files import publish_folder, sha256_file
from ..records import encode

MAX_BYTES = 4 << 30
MIN_FREE_BYTES = 64 << 20  # an engine of a mobile network has 3 to 30 MB, and TensorRT writes it twice
KEY_FILE = "engine.json"
MAX_DRAFT_AGE = 24 * 3600  # seconds after which a draft belongs to no process that still works


@dataclass(frozen=True)
class EngineKey:
    """Everything that an engine depends on.

    Attributes:
        model: SHA-256 of the ONNX file.
        options: TensorRT's options, without the places of files.
        onnxruntime, tensorrt, cuda, driver: versions.
        gpu: name and compute capability.
        jetpack: version of the device's system; empty elsewhere.
        power_mode: of a Jetson. TensorRT chooses kernels by timing them, and they rank otherwise in another
            mode.
        clocks: whether they are pinned, which changes the timings too.
    """

    model: str
    options: tuple[tuple[str, str], ...]
    onnxruntime: str
    tensorrt: str
    cuda: str
    driver: str
    gpu: str
    jetpack: str
    power_mode: str = ""
    clocks: str = ""

    def digest(self) -> str:
        """The key as 32 hexadecimal digits."""
        return hashlib.sha256(json.dumps(encode(self), sort_keys=True).encode()).hexdigest()[:32]


class EngineCache:
    """A folder of engines, of bounded size.

    Args:
        root: the folder; made when it is first needed.
        limit: bytes above which the engines that were not used for longest are removed.
    """

    def __init__(self, root: Path, limit: int = MAX_BYTES) -> None:
        self.root = root
        self.limit = limit

    @contextmanager
    def engine(self, key: EngineKey, build: Callable[[Path], None]) -> Iterator[Path]:
        """Give the folder with the engine of `key`; no other process changes it during the block.

        Args:
            key: what the engine must have been compiled for.
            build: compiles into the empty folder that it is given; called when no whole engine is there.

        Raises:
            OutputError: the cache cannot be written, or is full.
            PlacementError: `build` left no engine.
        """
        folder = self.root / key.digest()
        with self._lock(folder.name):
            if self.holds(key):
                self._touch(folder)
            else:
                self._build(folder, key, build)
            yield folder
        self._trim(keep=folder.name)

    def holds(self, key: EngineKey) -> bool:
        """Whether a whole engine of exactly this key is there."""
        folder = self.root / key.digest()
        try:
            key_file = json.loads((folder / KEY_FILE).read_text(encoding="utf-8"))
            present = {entry.name: sha256_file(entry) for entry in folder.iterdir() if entry.name != KEY_FILE}
            return key_file == {"key": encode(key), "files": present}
        except (OSError, ValueError):
            return False

    def _build(self, folder: Path, key: EngineKey, build: Callable[[Path], None]) -> None:
        try:
            shutil.rmtree(folder, ignore_errors=True)
            with publish_folder(folder) as draft:
                if shutil.disk_usage(self.root).free < MIN_FREE_BYTES:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                build(draft)
                files = {entry.name: sha256_file(entry) for entry in sorted(draft.iterdir())}
                if not any(name.endswith(".engine") for name in files):
                    raise PlacementError(
                        "TensorRT was asked for, and compiled no part of the model.",
                        got=", ".join(files) or "an empty folder",
                        todo="edgeproof doctor",
                    )
                (draft / KEY_FILE).write_text(json.dumps({"key": encode(key), "files": files}, indent=2))
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            stream = (self.root / f"{name}.lock").open("a")
        except OSError as error:
            if (self.root / name / KEY_FILE).is_file() and error.errno in (errno.EROFS, errno.EACCES):
                yield  # engines that were baked into a read-only system: nobody can change them
                return
            raise self._unusable(error) from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _touch(self, folder: Path) -> None:
        """Note the use; a read-only cache, which is never trimmed, need not know."""
        if os.access(self.root, os.W_OK):
            os.utime(folder / KEY_FILE)

    def _trim(self, keep: str) -> None:
        if not os.access(self.root, os.W_OK):
            return
        with suppress(FileNotFoundError):  # another process may be trimming too, and will do
            for draft in self.root.glob(".*.part"):
                if time.time() - draft.stat().st_mtime > MAX_DRAFT_AGE:
                    shutil.rmtree(draft, ignore_errors=True)
            used = sorted(
                (key_file.stat().st_mtime, key_file.parent) for key_file in self.root.glob(f"*/{KEY_FILE}")
            )
            sizes = {folder: _size(folder) for _, folder in used}
            total = sum(sizes.values())
            for folder in sizes:
                if total > self.limit and folder.name != keep and self._remove(folder):
                    total -= sizes[folder]

    def _remove(self, folder: Path) -> bool:
        """Remove an engine that no process is loading; whether it is gone."""
        with (self.root / f"{folder.name}.lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            shutil.rmtree(folder, ignore_errors=True)
            return not folder.exists()

    def _unusable(self, error: OSError) -> OutputError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return OutputError(
            f"The engine cache {self.root} is full."
            if full
            else f"The engine cache {self.root} cannot be used.",
            got=error.strerror or str(error),
            todo="make room there, or choose another place: export EDGEPROOF_CACHE=DIR"
            if full
            else "choose a place that can be written: export EDGEPROOF_CACHE=DIR",
        )


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in folder.iterdir())
