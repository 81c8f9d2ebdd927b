"""OpenCV, an optional dependency: loaded when a video or a camera is first opened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..device.jetson import ROOT
from ..device.remedies import missing_opencv

QUIET = {"OPENCV_LOG_LEVEL": "OFF", "OPENCV_FFMPEG_LOGLEVEL": "-8"}  # our own errors say what failed


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Whether there was a picture, and the picture, as `Captured` describes it."""
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
