"""`fashion-mnist`: 70,000 grey pictures of clothes, 28x28.

Xiao, Rasul and Vollgraf, "Fashion-MNIST" (arXiv 1708.07747). Read from the Debian package
dataset-fashion-mnist where it is installed, else from the folder of torchvision's download.
"""

from __future__ import annotations

from pathlib import Path

from ..cache import data_folder
from . import idx
from .dataset import Dataset, small_gray_preprocess
from .download import download

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


def load() -> Dataset:
    """The 60,000 pictures to train on and the 10,000 for evaluation.

    Raises:
        DataError: the files are nowhere and cannot be downloaded, or are damaged.
    """
    return idx.load("fashion-mnist", LABELS, _folder(), small_gray_preprocess)


def _folder() -> Path:
    downloaded = data_folder() / "FashionMNIST" / "raw"
    for folder in (DEBIAN_FOLDER, downloaded):
        if idx.is_whole(folder):
            return folder
    from torchvision.datasets import FashionMNIST

    download(
        FashionMNIST,
        "fashion-mnist",
        wanted=f"{', '.join(idx.FILES)} in {DEBIAN_FOLDER} or {downloaded}",
        todo="sudo apt-get install dataset-fashion-mnist",
    )
    return downloaded
