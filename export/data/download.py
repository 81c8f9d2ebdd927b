"""torchvision's downloads, into the folder where edgeproof keeps data sets."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from typing import Any, TypeVar

from ...runtime.errors import DataError
from ..cache import data_folder

T = TypeVar("T")


def download(kind: Callable[..., T], name: str, *, wanted: str, todo: str, **options: Any) -> T:
    """Make one of torchvision's data sets, which downloads what is absent and checks their MD5.

    Raises:
        DataError: it is not whole on this machine and cannot be downloaded; `wanted` and `todo` say what to
            put where.
    """
    try:
        return kind(str(data_folder()), download=True, **options)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"The data set {name!r} is not on this machine, or is damaged, and cannot be downloaded.",
            wanted=wanted,
            got=str(error).strip(),
            todo=todo,
        ) from error
