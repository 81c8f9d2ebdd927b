"""OpenCV, an extra: loaded when a video or a camera is first named."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import MissingDependency

QUIET = {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}  # what fails is told by our own errors


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Whether there was a picture, and it; see `edgeproof.runtime.captured` for its forms."""
        ...

    def release(self) -> None:
        """Let go of the device or file."""
        ...


def load_opencv() -> Any:
    """Import cv2.

    Raises:
        MissingDependency: it is not installed, or lacks one of the system's libraries.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency("OpenCV", "video", "Reading videos and cameras") from error
    return cv2
