"""Frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import ImageError
from .captured import Captured
from .opencv import load_opencv

ENDINGS = {".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
FRAME_COUNT_TOLERANCE = 0.02  # share by which the frame count that a container states may be wrong


def is_video(path: Path) -> bool:
    """Whether a file's ending is that of a video."""
    return path.suffix.lower() in ENDINGS


def read_video(path: Path) -> Iterator[Captured]:
    """Read a video frame by frame; never more than one frame is held here.

    Yields:
        The picture of each frame, not yet converted: that is for a worker.

    Raises:
        MissingDependency: OpenCV is not installed.
        ImageError: the file is missing or no video, or ends before the last of its frames.
    """
    cv2 = load_opencv()
    if not path.is_file():
        raise ImageError(f"{path} does not exist.")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ImageError(f"{path} is not a video that OpenCV can read, or it is damaged at its start.")
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        given = 0
        while True:
            good, picture = capture.read()
            if not good:
                break
            given += 1
            yield Captured(picture)
    finally:
        capture.release()
    if given == 0 or given + 1 < promised * (1 - FRAME_COUNT_TOLERANCE):
        raise ImageError(
            f"{path} is truncated or damaged.",
            wanted=f"{promised:.0f} frames, as the file says of itself",
            got=f"{given} frames that can be decoded",
        )
