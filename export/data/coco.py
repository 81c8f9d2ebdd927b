"""`coco:DIR`: pictures and annotations as COCO lays them out on disk.

DIR holds `annotations/instances_NAME.json`, and the pictures in a folder `NAME`, such as `train2017` and
`val2017`. Lin et al., "Microsoft COCO" (arXiv 1405.0312).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...runtime.errors import DataError
from ...runtime.sources.readers import MAX_PIXELS
from ...runtime.tasks.boxes import Boxes
from ...runtime.tasks.segmentation import MAX_CLASSES, NO_LABEL
from .annotated import MAX_ANNOTATION_BYTES, Annotated, boxes_within, inside, make_dataset
from .dataset import Dataset

UNFIT = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)  # values of another kind
WANTED = "DIR/annotations/instances_val2017.json and DIR/val2017/, as COCO has them"


@dataclass(frozen=True)
class _Picture:
    path: Path
    size: tuple[int, int]
    objects: Sequence[Mapping[str, Any]]


def load(folder: Path, task: str) -> Dataset:
    """Read the annotations; pictures and masks are read when they are used.

    Args:
        folder: DIR.
        task: "detection" or "segmentation"; of masks that overlap, the last one is on top.

    Raises:
        DataError: the folder is not laid out like that, or an annotation cannot be used.
    """
    files = sorted((folder / "annotations").glob("instances_*.json"))
    parts = {
        kind: [f for f in files if f.stem.split("_", 1)[1].startswith(kind)] for kind in ("train", "val")
    }
    if not parts["val"]:
        raise DataError(
            f"{folder} holds no COCO annotations.",
            wanted=WANTED,
            got=", ".join(file.name for file in files) or "no instances_*.json",
        )
    evaluation = _read(folder, parts["val"][-1])
    train = _read(folder, parts["train"][-1]) if parts["train"] else None
    if train is not None and train.labels != evaluation.labels:
        raise DataError(
            f"Both parts of {folder} have other categories.",
            wanted=", ".join(train.labels[:10]),
            got=", ".join(evaluation.labels[:10]),
        )
    name = f"coco:{folder.name}"
    learning = None if train is None else train.annotated(task)
    return make_dataset(name, evaluation.labels, task, learning, evaluation.annotated(task))


@dataclass(frozen=True)
class _Part:
    """One file of annotations.

    Attributes:
        labels: names of the categories, in the order of their ids.
        index: position of each id among them.
        pictures: with their objects.
    """

    labels: tuple[str, ...]
    index: Mapping[int, int]
    pictures: Sequence[_Picture]

    def annotated(self, task: str) -> Annotated:
        """The pictures with their truths for a task."""
        read = self._mask if task == "segmentation" else self._boxes

        def truth(position: int) -> Any:
            picture = self.pictures[position]
            try:
                return read(picture)
            except UNFIT as error:
                message = f"The objects of {picture.path.name} cannot be used: {error!r}"
                raise DataError(message, wanted=WANTED) from error

        return Annotated([picture.path for picture in self.pictures], truth)

    def _boxes(self, picture: _Picture) -> Boxes:
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (found["bbox"] for found in picture.objects)]
        classes = [self.index[found["category_id"]] for found in picture.objects]
        crowds = [bool(found.get("iscrowd", 0)) for found in picture.objects]
        return boxes_within(boxes, classes, crowds, picture.size, picture.path.name)

    def _mask(self, picture: _Picture) -> NDArray[np.uint8]:
        mask = np.zeros(picture.size[::-1], np.uint8)
        for found in picture.objects:
            crowd = bool(found.get("iscrowd", 0))
            value = NO_LABEL if crowd else self.index[found["category_id"]] + 1
            mask[_shape(found["segmentation"], picture)] = value
        return mask


def _read(folder: Path, file: Path) -> _Part:
    pictures = folder / file.stem.split("_", 1)[1]
    if file.stat().st_size > MAX_ANNOTATION_BYTES:
        raise DataError(f"{file} has {file.stat().st_size} bytes: no annotations are that large.")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        categories = sorted((int(each["id"]), str(each["name"])) for each in value["categories"])
        index = {identity: position for position, (identity, _) in enumerate(categories)}
        objects: dict[int, list[Mapping[str, Any]]] = {}
        for each in value["annotations"]:
            objects.setdefault(int(each["image_id"]), []).append(_checked(each, index, file))
        found = [
            _Picture(
                inside(pictures, str(each["file_name"])),
                _size(each, file),
                objects.get(int(each["id"]), []),
            )
            for each in value["images"]
        ]
    except (*UNFIT, RecursionError) as error:
        raise DataError(f"{file} does not hold COCO annotations: {error!r}", wanted=WANTED) from error
    if not found or not categories or len(categories) >= MAX_CLASSES:
        raise DataError(
            f"{file} cannot be used.",
            wanted=f"pictures, and 1 to {MAX_CLASSES - 1} categories",
            got=f"{len(found)} pictures and {len(categories)} categories",
        )
    return _Part(tuple(name for _, name in categories), index, found)


def _size(picture: Mapping[str, Any], file: Path) -> tuple[int, int]:
    width, height = int(picture["width"]), int(picture["height"])
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise DataError(
            f"A picture in {file.name} has no size that can be.",
            wanted=f"1 to {MAX_PIXELS} pixels",
            got=f"{width} x {height}",
        )
    return width, height


def _checked(found: Mapping[str, Any], index: Mapping[int, int], file: Path) -> Mapping[str, Any]:
    if found["category_id"] not in index:
        raise DataError(
            f"An object in {file.name} has a category that is not there.",
            wanted=", ".join(map(str, list(index)[:10])),
            got=str(found["category_id"]),
        )
    if len(found["bbox"]) != 4:
        raise DataError(f"An object in {file.name} has no box.", wanted="x, y, width, height")
    return found


def _shape(segmentation: Any, picture: _Picture) -> NDArray[np.bool_]:
    """Which pixels an object covers: from polygons, or from run lengths, as a list or COCO's text of them."""
    width, height = picture.size
    if isinstance(segmentation, list):
        canvas = Image.new("1", (width, height))
        draw = ImageDraw.Draw(canvas)
        for polygon in segmentation:
            if len(polygon) >= 6:
                draw.polygon([float(each) for each in polygon], fill=1)
        return np.asarray(canvas, bool)
    counts = segmentation["counts"]
    runs = _decoded(counts) if isinstance(counts, str) else [int(each) for each in counts]
    if (
        list(segmentation["size"]) != [height, width]
        or min(runs, default=0) < 0
        or sum(runs) != width * height
    ):
        raise DataError(
            f"A mask of {picture.path.name} has another size than the picture.",
            wanted=f"run lengths of {height} x {width} pixels",
            got=f"{segmentation['size']}, {sum(runs)} pixels",
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _decoded(text: str) -> list[int]:
    """Run lengths from COCO's text: six bits a character, each value less the one two before it."""
    runs: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more and position < len(text):
            part = ord(text[position]) - 48
            value |= (part & 0x1F) << shift
            more = bool(part & 0x20)
            position, shift = position + 1, shift + 5
            if not more and part & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
