"""Rows of an array in a .npy or .npz file, read when they are needed."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ...runtime.errors import DataError, gist

MAGIC = b"\x93NUMPY"
NUMBERS = "biuf"  # booleans, integers with and without sign, floats: numpy's letters for a dtype's kind
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class TensorFile:
    """The rows of an array in an open .npy file.

    Args:
        stream: the file, which is read from here on.
        name: what the array is called in messages.

    Attributes:
        shape: of the whole array.
        dtype: of its values.

    Raises:
        DataError: the array is damaged, of objects, or not in C order.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        version = npy.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"version {version} of the .npy format")
        self.shape, columns_first, self.dtype = HEADERS[version](stream)
        self._stream, self._name, self._start = stream, name, stream.tell()
        self._row = int(np.prod(self.shape[1:], dtype=object)) * self.dtype.itemsize
        if self.dtype.kind not in NUMBERS:
            raise _unusable(name, "objects, records or text, which are not read", "save one array of numbers")
        if columns_first and len(self.shape) > 1:
            raise _unusable(name, "an array in Fortran order", "save numpy.ascontiguousarray of it")
        if min(self.shape, default=0) < 0 or self._row > sys.maxsize:
            raise _unusable(name, f"the shape {self.shape}, which no array has", "copy or save it again")
        if not self.shape:
            raise _unusable(name, "a single value", "save an array whose first axis counts the inputs")
        if stream.seek(0, 2) - self._start < self._row * len(self):
            raise _unusable(name, "less than its header says: it is truncated", "copy or save it again")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The rows at some positions as one array."""
        rows = np.empty((len(positions), *self.shape[1:]), self.dtype)
        for index, position in enumerate(positions):
            self._stream.seek(self._start + int(position) * self._row)
            row = self._stream.read(self._row)
            if len(row) != self._row:
                raise _unusable(self._name, "less than before: it has changed meanwhile", "start again")
            rows[index] = np.frombuffer(row, self.dtype).reshape(self.shape[1:])
        return rows


def open_tensor(path: Path, names: Sequence[str]) -> TensorFile:
    """Open the array of a .npy file, or one of a .npz file.

    A .npz file's array is unpacked into a temporary file, which vanishes when it is no longer used.

    Args:
        path: the file.
        names: which array of several is wanted, the first that is there.

    Raises:
        DataError: the file is absent or damaged, or it is not clear which array is meant.
    """
    try:
        stream = path.open("rb")
        is_array = stream.read(len(MAGIC)) == MAGIC
        stream.seek(0)
        return TensorFile(stream if is_array else _unpack(stream, path, names), str(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", wanted="a .npy or .npz file") from error
    except DataError:
        raise
    except Exception as error:  # numpy and zipfile fail on damaged files in more ways than they document
        raise DataError(
            f"{path} cannot be read.", wanted="a .npy or .npz file as numpy saves it", got=gist(error)
        ) from error


def _unpack(stream: IO[bytes], path: Path, names: Sequence[str]) -> IO[bytes]:
    with stream, zipfile.ZipFile(stream) as archive:
        arrays = {member.removesuffix(".npy"): member for member in archive.namelist()}
        chosen = next((name for name in names if name in arrays), None)
        if chosen is None and len(arrays) == 1:
            chosen = next(iter(arrays))
        if chosen is None:
            raise DataError(
                f"{path} does not say which of its arrays holds the inputs.",
                wanted=f"one array, or one named {' or '.join(names)}",
                available=", ".join(arrays) or "none",
            )
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  (its reader keeps it open)
        with archive.open(arrays[chosen]) as member:
            shutil.copyfileobj(member, unpacked, 1 << 20)
    unpacked.seek(0)
    return unpacked


def _unusable(name: str, got: str, todo: str) -> DataError:
    return DataError(f"{name} holds no array that can calibrate.", got=got, todo=todo)
