"""Pictures with their answers drawn on them, for people to look at."""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL import Image

from ..errors import InputError, OutputError
from ..files import publish_file, sha256_bytes
from .results import Prediction

JPEG_QUALITY = 90
MAX_NAME_LENGTH = 80  # characters of a source's name


class Annotator:
    """Writes each picture into a folder, as a JPEG that shows its answer; masks beside it, as PNG.

    A file is named after its source and frame; what is there under that name is replaced.

    Args:
        folder: made if it is not there.

    Raises:
        OutputError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {folder} cannot be made.", got=error.strerror or "") from error

    def __call__(self, prediction: Prediction, picture: Image.Image | None) -> None:
        """Write one picture. Several threads may call it at once.

        Raises:
            InputError: the frame is a tensor, which shows nothing.
            OutputError: the file cannot be written.
        """
        if picture is None:
            raise InputError(
                f"{prediction.source} holds tensors: there is no picture to draw on.",
                todo="leave --annotate out",
            )
        view, task = prediction.view, prediction.task
        if view is None or task is None:
            raise AssertionError("a runner's predictions have a view and a task")
        name = file_name(prediction)
        drawing = task.draw(picture, prediction.answer, view)
        self._save(name, drawing, "JPEG", quality=JPEG_QUALITY)
        for ending, image in task.maps(prediction.answer, view).items():
            self._save(f"{name.removesuffix('.jpg')}.{ending}", image, "PNG")

    def _save(self, name: str, image: Image.Image, kind: str, **options: int) -> None:
        target = self._folder / name
        try:
            with publish_file(target) as draft:
                image.save(draft, kind, **options)
        except OSError as error:
            raise OutputError(f"{target} cannot be written.", got=error.strerror or str(error)) from error


def file_name(prediction: Prediction) -> str:
    """Name of a frame's annotated picture, such as cat.jpg-1f0c9a3b.000000.jpg.

    It holds a hash of the whole source: pictures of one name may stand in several folders.
    """
    last = re.sub(r"[^\w.-]+", "_", prediction.source.rpartition("/")[2]).lstrip(".")[:MAX_NAME_LENGTH]
    source = sha256_bytes(os.fsencode(prediction.source))[:8]
    return f"{last}-{source}.{prediction.frame:06d}.jpg"
