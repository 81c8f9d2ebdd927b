"""Sets of small grey pictures in IDX files, the format of MNIST and of sets that replace it."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError
from ..models.spec import InputShape
from .dataset import CALIBRATION_SAMPLES, Dataset, Split, in_memory, seeded_subset

TRAIN_FILES = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
EVALUATION_FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
FILES = TRAIN_FILES + EVALUATION_FILES


def is_whole(folder: Path) -> bool:
    """Whether all four files are there, each gzipped or as torchvision unpacks it."""
    return all(_present(folder, name).is_file() for name in FILES)


def load(
    name: str, labels: tuple[str, ...], folder: Path, preprocess: Callable[[InputShape], Preprocess]
) -> Dataset:
    """The set that a folder's four files make.

    Raises:
        DataError: a file is damaged, or does not fit the others.
    """
    train, evaluation = (_split(folder, files, len(labels)) for files in (TRAIN_FILES, EVALUATION_FILES))
    return Dataset(
        name=name,
        labels=labels,
        train=train,
        calibration=train.take(seeded_subset(len(train), CALIBRATION_SAMPLES)),
        evaluation=evaluation,
        small=True,
        preprocess=preprocess,
    )


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped if its name says so.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, "a file that can be read", str(error)) from error
    header = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(data[4:header], ">u4").tolist()) if len(data) >= header else ()
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) - header != math.prod(shape):
        raise _damaged(
            path,
            f"an IDX file of unsigned bytes with {dimensions} dimension(s)",
            f"{len(data)} bytes, beginning with {data[:4].hex()}, shape {shape}",
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _split(folder: Path, files: tuple[str, str], classes: int) -> Split:
    paths = [_present(folder, name) for name in files]
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if not len(images) == len(labels) > 0 or labels.max() >= classes:
        raise _damaged(
            paths[1],
            f"{len(images)} labels from 0 to {classes - 1}, one for each picture in {paths[0].name}",
            f"{len(labels)} labels from 0 to {labels.max(initial=0)}",
        )
    return in_memory(images, labels)


def _present(folder: Path, name: str) -> Path:
    packed = folder / name
    return packed if packed.is_file() else packed.with_suffix("")


def _damaged(path: Path, wanted: str, got: str) -> DataError:
    todo = f"remove {path}, then install or download the data set again"
    return DataError(f"{path} is damaged.", wanted=wanted, got=got, todo=todo)
