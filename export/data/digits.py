"""`digits`: 1,797 handwritten digits of 8x8 grey pixels that ship inside scikit-learn.

The test set of Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits" (UCI, 1998).
"""

from __future__ import annotations

import numpy as np

from ...runtime.errors import MissingDependency
from .dataset import CALIBRATION_SAMPLES, Dataset, in_memory, seeded_subset, small_gray_preprocess

EVALUATION_SAMPLES = 360
BRIGHTEST = 16


def load() -> Dataset:
    """The digits, with a fifth held out by seed.

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency("scikit-learn", "export", "The data set 'digits'") from error
    pixels, digits = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 8, 8) * (255 / BRIGHTEST)).astype(np.uint8)
    everything = in_memory(images, np.asarray(digits))
    held_out = seeded_subset(len(everything), EVALUATION_SAMPLES)
    train = everything.take(np.setdiff1d(np.arange(len(everything)), held_out))
    return Dataset(
        name="digits",
        labels=tuple(str(digit) for digit in range(10)),
        train=train,
        calibration=train.take(seeded_subset(len(train), CALIBRATION_SAMPLES)),
        evaluation=everything.take(held_out),
        small=True,
        preprocess=small_gray_preprocess,
    )
