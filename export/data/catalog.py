"""From a name to a data set."""

from __future__ import annotations

import difflib
from pathlib import Path

from ...runtime.errors import DataError
from . import cifar10, digits, fashion_mnist, imagefolder, indian_pines, mnist
from .dataset import Dataset

LOADERS = {
    "digits": digits.load,
    "fashion-mnist": fashion_mnist.load,
    "mnist": mnist.load,
    "cifar10": cifar10.load,
    "indian-pines": indian_pines.load,
}
NAMES = (*LOADERS, "imagefolder:DIR")


def find(name: str) -> Dataset:
    """The data set of a name, or of `imagefolder:DIR`.

    Raises:
        DataError: the name is unknown, or the data set is absent or damaged.
    """
    kind, _, argument = name.partition(":")
    if kind == "imagefolder" and argument:
        return imagefolder.load(Path(argument).expanduser())
    if name in LOADERS:
        return LOADERS[name]()
    close = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.5)
    raise DataError(
        f"There is no data set named {name!r}.",
        available=", ".join(NAMES),
        todo=f"did you mean {close[0]}?" if close else "",
    )
