"""`cifar10`: 60,000 colour pictures of things and animals, 32x32.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009). Its files are Python pickles,
which can run code when they are read: torchvision reads them only after the MD5 of every one has been found
to be the published one.
"""

from __future__ import annotations

import numpy as np

from ..cache import data_folder
from .dataset import CALIBRATION_SAMPLES, Dataset, in_memory, seeded_subset, small_color_preprocess
from .download import download


def load() -> Dataset:
    """The 50,000 pictures to train on and the 10,000 for evaluation.

    Raises:
        DataError: the files are absent or damaged, and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10

    wanted = f"{CIFAR10.filename} (MD5 {CIFAR10.tgz_md5}) in {data_folder()}"
    todo = f"download {CIFAR10.url} elsewhere and put it into that folder; it is unpacked by itself"
    learn, held_out = (
        download(CIFAR10, "cifar10", wanted=wanted, todo=todo, train=train) for train in (True, False)
    )
    train, evaluation = (in_memory(part.data, np.asarray(part.targets)) for part in (learn, held_out))
    return Dataset(
        name="cifar10",
        labels=tuple(learn.classes),
        train=train,
        calibration=train.take(seeded_subset(len(train), CALIBRATION_SAMPLES)),
        evaluation=evaluation,
        small=True,
        preprocess=small_color_preprocess,
    )
