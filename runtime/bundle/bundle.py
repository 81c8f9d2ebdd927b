"""The bundle: one folder with a model in several precisions, its proofs and its golden answers.

A bundle is untrusted input. To open one is to check every name, size and hash: a file that is missing,
changed, unknown or outside the folder is refused before anything is loaded from it.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, InputError, TaskError, gist
from ..files import sha256_bytes, sha256_file
from ..tasks.base import Task
from ..tasks.registry import task_of
from .manifest import COPY_AGAIN, FileEntry, Manifest, ModelEntry, PictureEntry, parse_manifest

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"  # the one file that may stand there unlisted: it signs the list
BROWSERS_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}  # which macOS and Windows leave in any folder
MAX_MANIFEST_BYTES = 64 << 20
MAX_GOLDEN_BYTES = 1 << 30
MAX_EVIDENCE_BYTES = 64 << 20
MAX_PICTURE_BYTES = 4 << 20
# Exact names only: the folder of a web page, say, holds a manifest.json, pictures and HTML files too.
BUNDLE_FILE = re.compile(
    r"manifest\.json|.+\.onnx|.+\.npz|golden-\d+\.(png|jpg)|evidence\.json|report\.html|model\.sig|bom\.cdx\.json"
)


@dataclass(frozen=True)
class Golden:
    """What was recorded at export.

    Attributes:
        input: inputs of the model, shape (N, ...).
        outputs: PyTorch's own answers to them, by output name.
        pictures: what preprocessing made of the bundle's pictures, shape (K, ...); None where it has none.
    """

    input: NDArray[Any]
    outputs: Mapping[str, NDArray[np.floating]]
    pictures: NDArray[Any] | None = None


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk. Open it with `Bundle.open`.

        bundle = Bundle.open("artifacts/mobilenet_v3")
        print(bundle.manifest.verdict.ship, list(bundle.manifest.models))

    Attributes:
        folder: where it is.
        manifest: what its manifest says.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path | str) -> Bundle:
        """Read a bundle and verify every file.

        Raises:
            BundleError: a file is missing, changed, unknown or outside the folder, or the schema is newer.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise BundleError(
                f"There is no bundle at {folder}.",
                wanted="a folder that `edgeproof export` wrote",
                got="a file" if folder.exists() else "nothing",
                todo="edgeproof export MODEL --out DIR   (where PyTorch is), or name another folder",
            )
        manifest = parse_manifest(_read_manifest(folder))
        files = manifest.files()
        _refuse_other_files(folder, set(files))
        _refuse_absurd_sizes(manifest)
        for entry in files.values():
            _verify(folder, entry)
        bundle = cls(folder, manifest)
        bundle.task  # noqa: B018 - a task that does not fit its model is refused here
        return bundle

    @cached_property
    def task(self) -> Task:
        """What the model's answers mean.

        Raises:
            BundleError: the task is unknown, or does not fit the outputs and the labels.
        """
        entry = self.manifest.task_arrays
        arrays = {} if entry is None else _load_arrays(self._read(entry), entry.file)
        task = task_of(self.manifest.task, arrays)
        try:
            task.require_fit(self.manifest.outputs, self.manifest.labels)
        except TaskError as error:
            raise BundleError(f"The manifest does not describe its model. {error}") from error
        return task

    def model_entry(self, precision: str) -> ModelEntry:
        """What the manifest says of one precision.

        Raises:
            InputError: the bundle does not hold that precision.
        """
        entry = self.manifest.models.get(precision)
        if entry is None:
            raise InputError(
                f"The bundle {self.manifest.name} holds no {precision} model.",
                wanted=precision,
                available=", ".join(self.manifest.models),
                todo="choose one of these with --precision",
            )
        return entry

    def model_bytes(self, precision: str) -> bytes:
        """The ONNX file of one precision, hashed once more from the very bytes returned.

        Raises:
            InputError: the bundle does not hold that precision.
            BundleError: the file has changed since the bundle was opened.
        """
        return self._read(self.model_entry(precision))

    def golden(self) -> Golden:
        """The recorded inputs and PyTorch's answers.

        Raises:
            BundleError: the file is damaged, or does not hold what the manifest promises.
        """
        arrays = _load_arrays(self._read(self.manifest.golden), self.manifest.golden.file)
        pictures = self.manifest.pictures
        names = {"input", *(output_key(i, o.name) for i, o in enumerate(self.manifest.outputs))}
        names |= {"pictures"} if pictures else set()
        if set(arrays) != names:
            raise BundleError(
                "golden.npz does not hold the promised arrays.",
                wanted=", ".join(sorted(names)),
                got=", ".join(sorted(arrays)),
            )
        if any(array.size == 0 for array in arrays.values()):
            raise BundleError("golden.npz holds no samples, which prove nothing.")
        if pictures and arrays["pictures"].shape[:1] != (len(pictures),):
            raise BundleError(
                "golden.npz does not hold the promised pictures.",
                wanted=f"{len(pictures)} tensors, one a picture",
                got=f"an array of shape {arrays['pictures'].shape}",
            )
        outputs = {o.name: arrays[output_key(i, o.name)] for i, o in enumerate(self.manifest.outputs)}
        return Golden(arrays["input"], outputs, arrays.get("pictures"))

    def picture_bytes(self, entry: PictureEntry) -> bytes:
        """One of the recorded pictures as a file, hashed once more from the very bytes returned.

        Raises:
            BundleError: the file has changed since the bundle was opened.
        """
        return self._read(entry)

    def evidence_bytes(self) -> bytes | None:
        """The measurements behind the models as JSON, hashed once more; None where the bundle has none.

        Raises:
            BundleError: the file has changed since the bundle was opened.
        """
        entry = self.manifest.evidence
        return None if entry is None else self._read(entry)

    def _read(self, entry: FileEntry) -> bytes:
        try:
            data = (self.folder / entry.file).read_bytes()
        except FileNotFoundError:
            raise _missing(entry) from None
        if sha256_bytes(data) != entry.sha256:
            raise BundleError(f"{entry.file} has changed since the bundle was opened.")
        return data


def output_key(index: int, name: str) -> str:
    """Name in golden.npz of an output: `output` for the first, `output.NAME` for the others."""
    return "output" if index == 0 else f"output.{name}"


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle, whole or damaged, and may be replaced as one."""
    names = {entry.name for entry in folder.iterdir()} - BROWSERS_FILES
    return MANIFEST in names and all(BUNDLE_FILE.fullmatch(name) for name in names)


def _read_manifest(folder: Path) -> str:
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise BundleError(
            f"{folder} holds no {MANIFEST}, so it is not a bundle.",
            got=", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "an empty folder",
            todo="name the folder that `edgeproof export` wrote",
        )
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes: no manifest is that large.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text: {error}") from error


def _refuse_other_files(folder: Path, known: set[str]) -> None:
    """What a file browser leaves behind is passed over: like all that is not listed, it is never read."""
    present = {entry.name for entry in folder.iterdir()}
    extra = present - known - {MANIFEST, SIGNATURE} - BROWSERS_FILES
    if extra:
        raise BundleError(
            f"The bundle {folder} holds files that its manifest does not know.",
            got=", ".join(sorted(extra)[:10]),
            todo="move them elsewhere, or export the bundle again",
        )


def _refuse_absurd_sizes(manifest: Manifest) -> None:
    """Before a file is read: `_verify` holds each to the size that the manifest names."""
    most = {picture.file: MAX_PICTURE_BYTES for picture in manifest.pictures}
    if manifest.evidence is not None:
        most[manifest.evidence.file] = MAX_EVIDENCE_BYTES
    for name, limit in most.items():
        if manifest.files()[name].bytes > limit:
            raise BundleError(
                f"{name} is said to have {manifest.files()[name].bytes} bytes.", wanted=f"{limit} or fewer"
            )


def _verify(folder: Path, entry: FileEntry) -> None:
    if entry.file in ("", ".", "..") or entry.file != os.path.basename(entry.file) or "\\" in entry.file:
        raise BundleError(
            f"The manifest names {entry.file!r}, a path that leaves the bundle.",
            wanted="plain file names",
            todo="do not use this bundle; export it again from a source that you trust",
        )
    path = folder / entry.file
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise _missing(entry) from None
    except (OSError, ValueError) as error:
        raise BundleError(
            f"The manifest names {entry.file[:80]!r}, which is no file name: {error}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{entry.file} is not a regular file of the bundle (a link, or a folder).")
    if status.st_size != entry.bytes:
        raise _changed(entry, f"{entry.bytes} bytes", f"{status.st_size} bytes")
    found = sha256_file(path)
    if found != entry.sha256:
        raise _changed(entry, f"SHA-256 {entry.sha256}", f"SHA-256 {found}")


def _missing(entry: FileEntry) -> BundleError:
    return BundleError(f"The bundle lacks {entry.file}.", todo=COPY_AGAIN)


def _changed(entry: FileEntry, wanted: str, got: str) -> BundleError:
    return BundleError(
        f"{entry.file} is not the file that was exported.",
        wanted=wanted,
        got=got,
        todo=COPY_AGAIN,
    )


def _load_arrays(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > MAX_GOLDEN_BYTES:
            raise BundleError(f"{name} would unpack to {total} bytes.", wanted=f"{MAX_GOLDEN_BYTES} or fewer")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except BundleError:
        raise
    except (
        Exception
    ) as error:  # zipfile, zlib and numpy fail on hostile files in more ways than they document
        raise BundleError(f"{name} cannot be read: {gist(error)}") from error
