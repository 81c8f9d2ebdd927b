"""`voc:DIR`: pictures and annotations as PASCAL VOC lays them out on disk.

DIR holds `JPEGImages`, `Annotations` (one XML file a picture), `SegmentationClass` (palette PNGs) and
`ImageSets/Main` or `ImageSets/Segmentation` with `train.txt` and `val.txt`; or it holds a
`VOCdevkit/VOC2012` that does. Everingham et al., "The PASCAL VOC Challenge" (IJCV 111, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...runtime.errors import DataError
from ...runtime.tasks.boxes import Boxes
from .annotated import Annotated, boxes_within, inside, make_dataset, require_size
from .dataset import Dataset

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
SETS = {"detection": "Main", "segmentation": "Segmentation"}
MAX_XML_BYTES = 4 << 20
WANTED = "DIR/JPEGImages, DIR/Annotations and DIR/ImageSets/Main/val.txt, as PASCAL VOC has them"


def load(folder: Path, task: str) -> Dataset:
    """Read which pictures there are; they and their truths are read when they are used.

    The classes are VOC's twenty, or, where the annotations name others, those that they name, in order.

    Args:
        folder: DIR.
        task: "detection" or "segmentation".

    Raises:
        DataError: the folder is not laid out like that, or an annotation cannot be used.
    """
    nested = sorted(folder.glob("VOCdevkit/VOC*"))
    root = nested[-1] if nested else folder
    parts = {kind: _names(root, task, kind) for kind in ("train", "val")}
    if not parts["val"]:
        raise DataError(
            f"{folder} holds no PASCAL VOC.", wanted=WANTED, got="no list of pictures to evaluate"
        )
    labels = CLASSES if task == "segmentation" else _labels(root, [*parts["train"], *parts["val"]])
    train = _annotated(root, parts["train"], labels, task) if parts["train"] else None
    evaluation = _annotated(root, parts["val"], labels, task)
    return make_dataset(f"voc:{folder.name}", labels, task, train, evaluation)


def _names(root: Path, task: str, kind: str) -> list[str]:
    """Names of the pictures of a part; the lists of other tasks are not mixed in."""
    path = root / "ImageSets" / SETS[task] / f"{kind}.txt"
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def _annotated(root: Path, names: Sequence[str], labels: Sequence[str], task: str) -> Annotated:
    paths = [inside(root / "JPEGImages", f"{name}.jpg") for name in names]
    if task == "segmentation":
        masks = [inside(root / "SegmentationClass", f"{name}.png") for name in names]
        return Annotated(paths, lambda i: _mask(masks[i], paths[i]))
    files = [inside(root / "Annotations", f"{name}.xml") for name in names]
    return Annotated(paths, partial(_truth, files, {label: i for i, label in enumerate(labels)}))


def _labels(root: Path, names: Sequence[str]) -> tuple[str, ...]:
    found = {
        _text(entry, "name", path)
        for path in (inside(root / "Annotations", f"{name}.xml") for name in names)
        for entry in _parse(path).iter("object")
    }
    if not found:
        raise DataError(f"The annotations of {root} name no object.", wanted=WANTED)
    return CLASSES if found <= set(CLASSES) else tuple(sorted(found))


def _truth(files: Sequence[Path], index: dict[str, int], position: int) -> Boxes:
    path = files[position]
    tree = _parse(path)
    size = tree.find("size")
    if size is None:
        raise DataError(f"{path} does not say how large its picture is.", wanted="<size>")
    boxes: list[tuple[float, float, float, float]] = []
    classes: list[int] = []
    difficult: list[bool] = []
    for entry in tree.iter("object"):
        box = entry.find("bndbox")
        if box is None:
            raise DataError(f"An object in {path} has no box.", wanted="<bndbox>")
        left, top, right, bottom = (_number(box, side, path) for side in ("xmin", "ymin", "xmax", "ymax"))
        boxes.append((left - 1, top - 1, right, bottom))  # VOC counts pixels from 1, the last one included
        classes.append(index[_text(entry, "name", path)])
        difficult.append(entry.findtext("difficult", "0").strip() == "1")
    width, height = int(_number(size, "width", path)), int(_number(size, "height", path))
    return boxes_within(boxes, classes, difficult, (width, height), path.stem)


def _mask(path: Path, picture: Path) -> NDArray[np.uint8]:
    """Class indices, 255 at the borders; the palette is not looked at."""
    with Image.open(path, formats=["PNG"]) as image:
        if image.mode not in ("P", "L"):
            raise DataError(f"{path} holds no class indices.", wanted="a palette or grey PNG", got=image.mode)
        mask = np.asarray(image)
    with Image.open(picture) as image:
        require_size(mask, image.size, picture.name)
    return mask


def _parse(path: Path) -> ElementTree.Element:
    """An XML file without entities, which can grow without bound or reach other files."""
    data = path.read_bytes()
    if len(data) > MAX_XML_BYTES or b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise DataError(f"{path} is no annotation of VOC.", wanted="a small XML file without a DOCTYPE")
    try:
        return ElementTree.fromstring(data)  # noqa: S314 - without a DOCTYPE there are no entities
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _text(entry: ElementTree.Element, name: str, path: Path) -> str:
    found = entry.findtext(name, "").strip()
    if not found:
        raise DataError(f"An object in {path} has no <{name}>.")
    return found


def _number(entry: ElementTree.Element, name: str, path: Path) -> float:
    try:
        number = float(_text(entry, name, path))
    except ValueError as error:
        raise DataError(f"<{name}> in {path} is no number: {error}") from error
    if not math.isfinite(number):
        raise DataError(f"<{name}> in {path} is no number: {number}")
    return number
