"""`digit-scenes`: scikit-learn's digits at random places of textured grounds, with boxes and masks.

The embedded data for detectors and segmenters. A scene is made from its number when it is asked for, the same
on every machine. The digits of the scenes that evaluate are in none of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.tasks.boxes import Boxes
from ..models.spec import InputShape
from . import digits
from .dataset import CALIBRATION_SAMPLES, Dataset, Split, Truths, seeded_subset

SIDE = 64  # pixels of a scene
TRAIN_SCENES, EVALUATION_SCENES = 5120, 400
MAX_DIGITS = 3
SIDES = (28, 40)  # of a digit's square, in pixels
GROUND = (30, 150)  # of 255: from the darkest to the lightest ground
CONTRAST = (80, 140)  # of 255: by which a digit is lighter than the ground under it
MAX_SHARED = 0.15  # of a digit's box that another may cover
INK = 0.35  # of the full stroke, from which on a pixel belongs to the digit
TRIES = 20
LABELS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Scene:
    """A picture with its digits.

    Attributes:
        picture: RGB, SIDE x SIDE.
        boxes: of the digits, in pixels.
        mask: for each pixel 0, or the digit's class plus one, shape (SIDE, SIDE).
    """

    picture: Image.Image
    boxes: Boxes
    mask: NDArray[np.uint8]


def load(task: str) -> Dataset:
    """The scenes, with truths for a task: "detection" or "segmentation".

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    source = digits.load()
    if source.train is None:
        raise AssertionError("the digits have a part to train on")
    train = _split(source.train, 0, TRAIN_SCENES, task)
    return Dataset(
        name="digit-scenes",
        labels=("background", *LABELS) if task == "segmentation" else LABELS,
        train=train,
        calibration=train.take(seeded_subset(TRAIN_SCENES, CALIBRATION_SAMPLES)),
        evaluation=_split(source.evaluation, 1, EVALUATION_SCENES, task),
        small=True,
        preprocess=_preprocess,
        task=task,
    )


def make_scene(source: Split, seed: tuple[int, ...]) -> Scene:
    """A scene from its seed.

    Args:
        source: the digits that may stand in it.
        seed: of everything that is drawn.
    """
    random = np.random.default_rng(seed)
    canvas = _ground(random)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    boxes: list[tuple[int, int, int, int]] = []
    classes: list[int] = []
    for _ in range(random.integers(1, MAX_DIGITS + 1)):
        position = int(random.integers(len(source)))
        ink = _ink(source.load(position), random)
        box = _place(ink, boxes, random)
        if box is None:
            continue
        left, top, right, bottom = box
        window = canvas[top:bottom, left:right]
        colour = _colour(window.mean(axis=(0, 1)), random)
        window += ink[..., None] * (colour - window)
        mask[top:bottom, left:right][ink >= INK] = source.labels[position] + 1
        boxes.append(box)
        classes.append(int(source.labels[position]))
    noisy = canvas + random.normal(0, 3, canvas.shape)
    picture = Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return Scene(picture, Boxes.of(boxes, classes), mask)


def _split(source: Split, part: int, count: int, task: str) -> Split:
    scene = lru_cache(maxsize=count)(partial(_scene, source, part))  # its picture and its truth are asked for
    truth: Callable[[int], Any] = lambda i: scene(i).mask if task == "segmentation" else scene(i).boxes  # noqa: E731
    return Split(lambda i: scene(i).picture, Truths(count, truth))


def _scene(source: Split, part: int, number: int) -> Scene:
    return make_scene(source, (part, number))


def _preprocess(shape: InputShape) -> Preprocess:
    channels = shape[0]
    return Preprocess(
        resize=(shape[1], shape[2]),
        crop=None,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        color="gray" if channels == 1 else "rgb",
    )


def _ground(random: np.random.Generator) -> NDArray[np.float64]:
    """Smooth colour with stripes of some direction and wave length."""
    coarse = random.uniform(*GROUND, (4, 4, 3)).astype(np.uint8)
    ground = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    angle, length = random.uniform(0, np.pi), random.uniform(6, 30)
    waves = np.sin(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / length)
    return ground + random.uniform(0, 12) * waves[..., None]


def _ink(digit: Any, random: np.random.Generator) -> NDArray[np.float64]:
    """A digit of random size, cut to its strokes, 0..1, shape (height, width)."""
    side = int(random.integers(*SIDES))
    large = digit.resize((side, round(side * random.uniform(0.9, 1.3))), Image.Resampling.BICUBIC)
    ink = np.asarray(large, np.float64) / 255
    seen = ink >= INK
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _place(
    ink: NDArray[np.float64], taken: list[tuple[int, int, int, int]], random: np.random.Generator
) -> tuple[int, int, int, int] | None:
    """Where a digit goes so that it hardly covers another; None where there is no place."""
    height, width = ink.shape
    if height > SIDE or width > SIDE:
        return None
    for _ in range(TRIES):
        left, top = int(random.integers(SIDE - width + 1)), int(random.integers(SIDE - height + 1))
        box = (left, top, left + width, top + height)
        if all(_shared(box, other) <= MAX_SHARED for other in taken):
            return box
    return None


def _shared(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    """The area that two boxes share, over that of the smaller one."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(width, 0) * max(height, 0) / smaller


def _colour(ground: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """A colour that is lighter than the ground."""
    return np.clip(ground + random.uniform(*CONTRAST) + random.normal(0, 12, 3), 0, 255)
