"""From a name to a data set."""

from __future__ import annotations

import difflib
from pathlib import Path

from ...runtime.errors import DataError
from . import cifar10, coco, digit_scenes, digits, fashion_mnist, imagefolder, indian_pines, mnist, voc
from .dataset import Dataset

PLACED = ("segmentation", "detection")  # tasks whose truths have a place in the picture
LOADERS = {
    "digits": digits.load,
    "fashion-mnist": fashion_mnist.load,
    "mnist": mnist.load,
    "cifar10": cifar10.load,
    "indian-pines": indian_pines.load,
}
# Data sets that have a truth for more than one task; each is loaded for one.
LOADERS_BY_TASK = {"digit-scenes": digit_scenes.load}
FOLDERS_BY_TASK = {"coco": coco.load, "voc": voc.load}
NAMES = (*LOADERS, *LOADERS_BY_TASK, "imagefolder:DIR", "coco:DIR", "voc:DIR")


def find(name: str, task: str = "classification") -> Dataset:
    """The data set of a name, or of `imagefolder:DIR`.

    Args:
        name: as it is typed.
        task: for which truths are wanted.

    Raises:
        DataError: the name is unknown, or the data set is absent or damaged, or knows no truth for the task.
    """
    head, colon, argument = name.partition(":")
    kind, typed = head.lower(), name
    name = kind + colon + argument
    if kind in LOADERS_BY_TASK or (kind in FOLDERS_BY_TASK and argument):
        if task not in PLACED:
            raise DataError(
                f"The data set {kind} has no truth for {task}.",
                wanted=" or ".join(PLACED),
                todo="choose a model for one of these tasks, or --data digits",
            )
        if kind in LOADERS_BY_TASK:
            return LOADERS_BY_TASK[kind](task)
        return FOLDERS_BY_TASK[kind](Path(argument).expanduser(), task)
    if (known := name in LOADERS or (kind == "imagefolder" and argument)) and task in PLACED:
        raise DataError(
            f"The data set {name} knows the class of a picture, and no truth for {task}.",
            available="digit-scenes, coco:DIR, voc:DIR",
            todo="--data digit-scenes, or another of these",
        )
    if known:
        return LOADERS[name]() if name in LOADERS else imagefolder.load(Path(argument).expanduser())
    close = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.5)
    if Path(typed).expanduser().is_dir():
        close = [f"imagefolder:{typed}"]
    raise DataError(
        f"There is no data set named {typed!r}.",
        available=", ".join(NAMES),
        todo=f"did you mean {close[0]}?" if close else "",
    )
