"""`indian-pines`: a field in Indiana in 200 spectral bands, to be classified pixel by pixel.

Baumgardner, Biehl and Landgrebe, "220 Band AVIRIS Hyperspectral Image Data Set" (2015, CC BY 3.0), less its
20 bands of water absorption, as it ships inside tensorly. Prepared as for HybridSN: Roy, Krishna, Dubey and
Chaudhuri (arXiv 1902.06701) and their published code.

- 30 whitened principal components (mean 0, variance 1 each), fitted without labels, but on the whole scene.
- A sample is the 25x25 patch around a labelled pixel, with zeros beyond the scene's edge.
- 30 % of the pixels of each class train and 70 % evaluate. No pixel is the centre of patches in both, but
  the patches themselves overlap: scores on this split say little about another field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError, MissingDependency
from .dataset import CALIBRATION_SAMPLES, Dataset, Split, seeded_subset

SCENE = (145, 145, 200)  # rows, columns, bands
COMPONENTS = 30
SIDE = 25
EVALUATION_SHARE = 0.7
SEED = 345  # as in the authors' code
LABELS = (
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-Grass-Trees-Drives",
    "Stone-Steel-Towers",
)


def load() -> Dataset:
    """The 3,074 patches to train on and the 7,175 for evaluation, each (1, 30, 25, 25) with bands as depth.

    Raises:
        MissingDependency: tensorly or scikit-learn is not installed.
        DataError: tensorly's copy of the scene is damaged.
    """
    try:
        scene, classes = _scene()
        everything = patches(principal_components(scene), classes)
        learn, held_out = _positions(np.asarray(everything.labels))
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "tensorly", "export", "The data set 'indian-pines'") from error
    train = everything.take(learn)
    return Dataset(
        name="indian-pines",
        labels=LABELS,
        train=train,
        calibration=train.take(seeded_subset(len(train), CALIBRATION_SAMPLES)),
        evaluation=everything.take(held_out),
        small=False,
        preprocess=lambda shape: None,
        tensor_shape=(1, COMPONENTS, SIDE, SIDE),
    )


def principal_components(scene: NDArray[Any]) -> NDArray[np.float32]:
    """The scene's whitened principal components, strongest first, shape (30, rows, columns)."""
    from sklearn.decomposition import PCA

    rows, columns, bands = scene.shape
    components = PCA(COMPONENTS, whiten=True).fit_transform(scene.reshape(-1, bands))
    return np.asarray(components.T, np.float32, order="C").reshape(COMPONENTS, rows, columns)


def patches(cube: NDArray[np.float32], classes: NDArray[np.integer]) -> Split:
    """The patch around each labelled pixel, row by row, cut when it is asked for.

    Args:
        cube: shape (bands, rows, columns).
        classes: shape (rows, columns): 0 for a pixel without a label, else its class index + 1.
    """
    margin = SIDE // 2
    padded = np.pad(cube, ((0, 0), (margin, margin), (margin, margin)))
    rows, columns = np.nonzero(classes)

    def cut(i: int) -> NDArray[np.float32]:
        top, left = rows[i], columns[i]  # of the patch in the padded cube, whose margin shifts the centre
        return padded[None, :, top : top + SIDE, left : left + SIDE].copy()

    return Split(cut, classes[rows, columns].astype(np.int64) - 1)


def _positions(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(labels))
    parts = train_test_split(everything, test_size=EVALUATION_SHARE, random_state=SEED, stratify=labels)
    return np.sort(parts[0]), np.sort(parts[1])


def _scene() -> tuple[NDArray[Any], NDArray[np.integer]]:
    from tensorly.datasets import load_indian_pines

    todo = "pip install --force-reinstall --no-deps tensorly"
    try:
        found = load_indian_pines()
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"tensorly's Indian Pines cannot be read: {error}", todo=todo) from error
    scene, classes = np.asarray(found.tensor), np.asarray(found.ticks[0])
    expected = list(range(len(LABELS) + 1))
    if scene.shape != SCENE or classes.shape != SCENE[:2] or np.unique(classes).tolist() != expected:
        raise DataError(
            "tensorly's Indian Pines is not the scene that was published.",
            wanted=f"pixels of shape {SCENE}, and a class from 0 to {len(LABELS)} for each",
            got=f"shapes {scene.shape} and {classes.shape}, classes {np.unique(classes)[:20].tolist()}",
            todo=todo,
        )
    return scene, classes
