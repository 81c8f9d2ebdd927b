"""`mnist`: 70,000 handwritten digits, 28x28 grey.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (Proc. IEEE,
1998). Read from the folder of torchvision's download, and downloaded there where it is absent.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..cache import data_folder
from . import idx
from .dataset import Dataset, small_gray_preprocess
from .download import download

LABELS = tuple(str(digit) for digit in range(10))
MEAN, STD = 0.1307, 0.3081


def load() -> Dataset:
    """The 60,000 pictures to train on and the 10,000 for evaluation.

    Raises:
        DataError: the files are absent and cannot be downloaded, or are damaged.
    """
    return idx.load("mnist", LABELS, _folder(), partial(small_gray_preprocess, mean=MEAN, std=STD))


def _folder() -> Path:
    folder = data_folder() / "MNIST" / "raw"
    if not idx.is_whole(folder):
        from torchvision.datasets import MNIST

        download(
            MNIST,
            "mnist",
            wanted=f"{', '.join(idx.FILES)} in {folder}",
            todo=f"download them elsewhere from {MNIST.mirrors[0]} and put them into that folder",
        )
    return folder
