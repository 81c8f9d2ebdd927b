"""What data sets of annotated pictures share: reading a picture, and parts that never overlap."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...runtime.errors import DataError, ImageError
from ...runtime.sources.readers import read_image
from ...runtime.tasks.boxes import Boxes, areas
from .dataset import (
    CALIBRATION_SAMPLES,
    Dataset,
    Split,
    Truths,
    photograph_stretched,
    seeded_subset,
)

BACKGROUND = "background"
MAX_ANNOTATION_BYTES = 2 << 30


@dataclass(frozen=True)
class Annotated:
    """Pictures with their truths.

    Attributes:
        paths: of the pictures.
        truth: gives the truth of the picture at a position.
    """

    paths: Sequence[Path]
    truth: Callable[[int], Any]

    def split(self) -> Split:
        """The same as a split, read when it is asked for."""
        return Split(lambda i: read_picture(self.paths[i]), Truths(len(self.paths), self.truth))


def make_dataset(
    name: str, labels: Sequence[str], task: str, train: Annotated | None, evaluation: Annotated
) -> Dataset:
    """A data set of annotated pictures; without a part to train on, a third of the others calibrate.

    Raises:
        DataError: there are too few pictures.
    """
    held_out = evaluation.split()
    if train is None:
        calibration = seeded_subset(len(held_out), min(CALIBRATION_SAMPLES, len(held_out) // 3))
        rest = np.setdiff1d(np.arange(len(held_out)), calibration)
        learning, calibrating, judging = None, held_out.take(calibration), held_out.take(rest)
    else:
        learning, judging = train.split(), held_out
        calibrating = learning.take(seeded_subset(len(learning), min(CALIBRATION_SAMPLES, len(learning))))
    if len(calibrating) < 2 or len(judging) < 2:
        raise DataError(
            f"The data set {name} holds too few pictures.",
            wanted="at least 6, so that some can calibrate and others evaluate",
            got=str(len(held_out) + (0 if train is None else len(train.paths))),
        )
    return Dataset(
        name=name,
        labels=(BACKGROUND, *labels) if task == "segmentation" else tuple(labels),
        train=learning,
        calibration=calibrating,
        evaluation=judging,
        small=False,
        preprocess=photograph_stretched,
        task=task,
    )


def boxes_within(
    boxes: Sequence[Sequence[float]],
    classes: Sequence[int],
    ignore: Sequence[bool],
    size: tuple[int, int],
    where: str,
) -> Boxes:
    """Boxes cut at the edges of their picture; those without area are left out.

    Args:
        boxes: left, top, right, bottom of each, in pixels.
        classes, ignore: of each.
        size: (width, height) of the picture.
        where: names the picture in messages.

    Raises:
        DataError: a box is NaN, or its right lies left of its left.
    """
    held = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(held).all() or (held[:, 2:] < held[:, :2]).any():
        bad = held[~np.isfinite(held).all(axis=1) | (held[:, 2:] < held[:, :2]).any(axis=1)][0]
        raise DataError(
            f"A box of {where} cannot be one.",
            wanted="finite left, top, right, bottom, the right not left of the left",
            got=str(bad.tolist()),
        )
    found = Boxes.of(np.clip(held, 0, np.tile(size, 2)), classes, ignore=ignore)
    return found.take(areas(found.boxes) > 0)


def read_picture(path: Path) -> Image.Image:
    """A picture of a data set.

    Raises:
        DataError: it is missing or cannot be read.
    """
    try:
        return read_image(path)
    except ImageError as error:
        raise DataError(
            f"A picture of the data set cannot be used: {error.message}",
            todo="mend or remove it; a data set is never used in part",
        ) from error


def require_size(mask: NDArray[np.uint8], size: tuple[int, int], where: str) -> None:
    """Refuse a mask of another size than its picture.

    Raises:
        DataError: it has one.
    """
    if mask.shape != size[::-1]:
        raise DataError(
            f"The mask of {where} has another size than the picture.",
            wanted=f"{size[0]} x {size[1]} pixels",
            got=f"{' x '.join(map(str, mask.shape[::-1]))}",
        )


def inside(folder: Path, name: str) -> Path:
    """A file of a folder by a name that came from outside.

    Raises:
        DataError: the name leaves the folder, or there is no such file.
    """
    path = folder / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"The annotations name {name!r}, a path that leaves {folder}.")
    if not os.path.isfile(path):
        raise DataError(f"The annotations name {name}, which is not in {folder}.", wanted=str(path))
    return path
