"""`fashion-mnist`: 70,000 grey pictures of clothes, 28x28.

Xiao, Rasul and Vollgraf, "Fashion-MNIST" (arXiv 1708.07747). Read from the Debian package
dataset-fashion-mnist where it is installed, else from the folder of torchvision's download.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError
from ..cache import data_folder
from .dataset import CALIBRATION_SAMPLES, Dataset, in_memory, seeded_subset, small_gray_preprocess

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FILES = tuple(
    f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)


def load() -> Dataset:
    """The 60,000 pictures to train on and the 10,000 that judge.

    Raises:
        DataError: the files are nowhere and cannot be downloaded, or are damaged.
    """
    folder = _folder()
    parts = [in_memory(read_idx(folder / FILES[i], 3), read_idx(folder / FILES[i + 1], 1)) for i in (0, 2)]
    train, evaluation = parts
    return Dataset(
        name="fashion-mnist",
        labels=LABELS,
        train=train,
        calibration=train.take(seeded_subset(len(train), CALIBRATION_SAMPLES)),
        evaluation=evaluation,
        small=True,
        preprocess=small_gray_preprocess,
    )


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes (the format of LeCun's MNIST page).

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", todo="install or download the data set again"
        ) from error
    header = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(data[4:header], ">u4").tolist()) if len(data) >= header else ()
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) - header != int(np.prod(shape)):
        raise DataError(
            f"{path} is damaged.",
            wanted=f"an IDX file of unsigned bytes with {dimensions} dimension(s)",
            got=f"{len(data)} bytes, beginning with {data[:4].hex()}, shape {shape}",
            todo="install or download the data set again",
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _folder() -> Path:
    downloaded = data_folder() / "FashionMNIST" / "raw"
    for folder in (DEBIAN_FOLDER, downloaded):
        if all((folder / name).is_file() for name in FILES):
            return folder
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(data_folder()), download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            "The data set 'fashion-mnist' is not on this machine and cannot be downloaded.",
            wanted=f"{', '.join(FILES)} in {DEBIAN_FOLDER} or {downloaded}",
            got=str(error),
            todo="sudo apt-get install dataset-fashion-mnist",
        ) from error
    return downloaded
