"""OpenCV, an extra: loaded when a video or a camera is first named."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import ImageError
from .jetson import ROOT
from .remedies import missing_opencv

QUIET = {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}  # what fails is told by our own errors


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Whether there was a picture, and it: uint8 of shape (height, width, 3), blue first."""
        ...

    def release(self) -> None:
        """Let go of the device or file."""
        ...


def load_opencv(root: Path = ROOT) -> Any:
    """Import cv2.

    Args:
        root: where the file system starts.

    Raises:
        MissingDependency: it is not installed, or cannot be loaded.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import cv2
    except ImportError as error:
        raise missing_opencv(error, root) from error
    return cv2


def to_image(picture: NDArray[np.uint8]) -> Image.Image:
    """OpenCV's picture (blue, green, red, or grey) as Pillow's.

    Raises:
        ImageError: it is of another kind, such as 16 bits deep.
    """
    if picture.dtype == np.uint8 and picture.ndim == 2:
        return Image.fromarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ImageError(
            "The frame is not an 8-bit picture.",
            wanted="uint8 of shape (height, width, 3)",
            got=f"{picture.dtype} of shape {picture.shape}",
        )
    return Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1]))


def reader(picture: NDArray[np.uint8]) -> partial[Image.Image]:
    """A function that gives the picture as Pillow's: converting is for a worker."""
    return partial(to_image, picture)
