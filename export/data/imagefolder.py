"""`imagefolder:DIR`: the user's own photographs, one folder a class, as in torchvision's ImageFolder.

DIR either holds the class folders, or `train` and `val` folders that hold them. A `class_index.json`
beside the class folders maps them to the model's classes, in one of two variants:
`{"folder": index, ...}`, or Keras' `{"index": ["folder", "label"], ...}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...runtime.errors import DataError, ImageError
from ...runtime.sources.readers import is_hidden, picture_endings, read_image, visible_files
from .dataset import CALIBRATION_SAMPLES, Dataset, Split, photograph_preprocess, seeded_subset

CLASS_INDEX = "class_index.json"
IMAGENET_FOLDER = re.compile(r"n\d{8}")
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class ClassIndex:
    """The class index of each folder, and the label of each index."""

    folders: Mapping[str, int]
    labels: tuple[str, ...]


def load(folder: Path) -> Dataset:
    """Read the list of pictures; the pictures themselves are read when they are used.

    Without `train` and `val`, a third of the pictures (at most 128) calibrate and the rest evaluate.

    Raises:
        DataError: the folder is absent or holds no pictures in class folders, or class_index.json does
            not fit.
    """
    if not folder.is_dir():
        raise DataError(
            f"There is no folder {folder}.", wanted="a folder with one folder of pictures a class"
        )
    parts = [folder / "train", folder / "val"]
    if all(part.is_dir() for part in parts):
        return _with_parts(folder, *parts)
    index = _class_index(folder, _class_folders(folder))
    everything = _split(folder, index)
    calibration = seeded_subset(len(everything), min(CALIBRATION_SAMPLES, len(everything) // 3))
    rest = np.setdiff1d(np.arange(len(everything)), calibration)
    return _dataset(folder, index, None, everything.take(calibration), everything.take(rest))


def _with_parts(folder: Path, train_folder: Path, val_folder: Path) -> Dataset:
    names = _class_folders(train_folder)
    index = _class_index(folder, names)
    strangers = sorted(set(_class_folders(val_folder)) - set(index.folders))
    if strangers:
        raise DataError(
            f"{val_folder} holds classes that {train_folder} does not.", got=", ".join(strangers[:10])
        )
    train = _split(train_folder, index)
    calibration = train.take(seeded_subset(len(train), min(CALIBRATION_SAMPLES, len(train))))
    return _dataset(folder, index, train, calibration, _split(val_folder, index))


def _dataset(
    folder: Path, index: ClassIndex, train: Split | None, calibration: Split, evaluation: Split
) -> Dataset:
    if len(calibration) < 2 or len(evaluation) < 2:
        raise DataError(
            f"The folder {folder} holds too few pictures.",
            wanted="at least 6, so that some can calibrate and others evaluate",
            got=str(len(calibration) + len(evaluation)),
        )
    return Dataset(
        name=f"imagefolder:{folder.name}",
        labels=index.labels,
        train=train,
        calibration=calibration,
        evaluation=evaluation,
        small=False,
        preprocess=photograph_preprocess,
    )


def _class_folders(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))
    if not names:
        raise DataError(
            f"The folder {folder} holds no class folders.",
            wanted="DIR/CLASS/PICTURE, one folder a class",
            got=", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "an empty folder",
        )
    return names


def _class_index(folder: Path, names: list[str]) -> ClassIndex:
    path = folder / CLASS_INDEX
    if not path.is_file():
        return ClassIndex({name: i for i, name in enumerate(names)}, _with_imagenet_names(names))
    try:
        index = _parse_class_index(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a class index: {error}",
            wanted='{"folder": index, ...} or {"index": ["folder", "label"], ...}',
        ) from error
    strangers = [name for name in names if name not in index.folders]
    if strangers:
        raise DataError(
            f"{path} does not name every class folder.",
            got=f"no index for {', '.join(strangers[:10])}",
            todo="add them, or move these folders away",
        )
    return index


def _parse_class_index(value: Any) -> ClassIndex:
    if not isinstance(value, dict) or not value:
        raise ValueError("it must be an object with at least one entry")
    entries = [_parse_entry(key, item) for key, item in value.items()]
    if sorted(index for index, _, _ in entries) != list(range(len(entries))):
        raise ValueError(f"the indices must be 0 to {len(entries) - 1}, each once")
    entries.sort()
    folders = [folder for _, folder, _ in entries]
    labels = tuple(label for _, _, label in entries)
    if labels == tuple(folders):
        labels = _with_imagenet_names(folders)
    return ClassIndex({folder: index for index, folder, _ in entries}, labels)


def _parse_entry(key: str, item: Any) -> tuple[int, str, str]:
    if isinstance(item, int) and not isinstance(item, bool):
        return item, key, key
    if isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item):
        return int(key), item[0], item[1]
    raise ValueError(f"the entry {key!r} is {item!r}")


def _with_imagenet_names(folders: list[str]) -> tuple[str, ...]:
    """ImageNet-1k's folders, in their order, get ImageNet's class names; all others keep their own."""
    imagenet = len(folders) == IMAGENET_CLASSES and all(IMAGENET_FOLDER.fullmatch(name) for name in folders)
    if not imagenet or folders != sorted(folders):
        return tuple(folders)
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def _split(folder: Path, index: ClassIndex) -> Split:
    endings = picture_endings()
    found = [
        (path, index.folders[name])
        for name in _class_folders(folder)
        for path in sorted(visible_files(folder / name))
        if path.suffix.lower() in endings
    ]
    if not found:
        raise DataError(f"The class folders of {folder} hold no pictures.")
    paths = [path for path, _ in found]
    return Split(lambda i: _read(paths[i]), np.array([label for _, label in found], np.int64))


def _read(path: Path) -> Image.Image:
    try:
        return read_image(path)
    except ImageError as error:
        raise DataError(
            f"A picture of the data set cannot be used: {error.message}",
            todo="mend or remove it; a data set is never used in part",
        ) from error
