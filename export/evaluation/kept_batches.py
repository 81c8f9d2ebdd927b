"""What was found on batches of samples, kept in a folder, so that a long evaluation can be interrupted."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.files import publish_file

Found = list[dict[str, NDArray[Any]]]  # of each sample of a batch


class KeptBatches:
    """A folder with a file for each batch and model. What is damaged counts as not there.

    Args:
        folder: made when something is first kept.

    Attributes:
        reused: how many batches were there already.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reused = 0

    def get(self, key: str, count: int) -> Found | None:
        """What was kept of a batch; None where nothing was.

        Args:
            key: of the batch and the model, as `digest` makes it.
            count: number of samples in the batch.
        """
        try:
            with np.load(self._path(key), allow_pickle=False) as archive:
                arrays = dict(archive)
        except Exception:  # absent, or a damaged archive, which fails in many ways
            return None
        found: Found = [{} for _ in range(count)]
        for name, values in arrays.items():
            number, _, own = name.partition(".")
            found[int(number)][own] = values
        self.reused += 1
        return found

    def put(self, key: str, found: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Keep what was found of a batch.

        Raises:
            OutputError: the place cannot be written.
        """
        arrays: dict[str, Any] = {
            f"{number}.{name}": values for number, each in enumerate(found) for name, values in each.items()
        }
        with publish_file(self._path(key)) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)

    def clear(self) -> None:
        """Remove the folder, when all has been used."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.npz"


def digest(*parts: Any) -> str:
    """SHA-256 of texts, arrays, and dataclasses of arrays."""
    found = hashlib.sha256()
    for part in parts:
        found.update(_bytes(part) + b"\0")
    return found.hexdigest()


def _bytes(part: Any) -> bytes:
    if is_dataclass(part):
        return b"\0".join(_bytes(getattr(part, field.name)) for field in fields(part))
    if isinstance(part, str):
        return part.encode()
    array = np.asarray(part)
    return f"{array.dtype}{array.shape}".encode() + array.tobytes()
