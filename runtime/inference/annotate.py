"""Pictures with their labels written on them, for people to look at."""

from __future__ import annotations

import os
import re
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError, OutputError
from ..files import publish_file, sha256_bytes
from .results import Prediction

LINES_PER_PICTURE = 20  # lines of text that would fill a picture's height
MIN_FONT_SIZE = 10  # pixels
JPEG_QUALITY = 90
MAX_NAME_LENGTH = 80  # characters of a source's name


class Annotator:
    """Writes each labelled picture into a folder, as a JPEG with its best classes in its corner.

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
                f"{prediction.source} holds tensors: there is no picture to write labels on.",
                todo="leave --annotate out",
            )
        target = self._folder / file_name(prediction)
        try:
            with publish_file(target) as draft:
                annotated(picture, prediction).save(draft, "JPEG", quality=JPEG_QUALITY)
        except OSError as error:
            raise OutputError(f"{target} cannot be written.", got=error.strerror or str(error)) from error


def file_name(prediction: Prediction) -> str:
    """Name of a frame's annotated picture, such as cat.jpg-1f0c9a3b.000000.jpg.

    It holds a hash of the whole source: pictures of one name may stand in several folders.
    """
    last = re.sub(r"[^\w.-]+", "_", prediction.source.rpartition("/")[2]).lstrip(".")[:MAX_NAME_LENGTH]
    source = sha256_bytes(os.fsencode(prediction.source))[:8]
    return f"{last}-{source}.{prediction.frame:06d}.jpg"


def annotated(picture: Image.Image, prediction: Prediction) -> Image.Image:
    """A copy of the picture, in RGB, with one line for each class in its upper left corner."""
    image = picture.convert("RGB")
    size = max(MIN_FONT_SIZE, image.height // LINES_PER_PICTURE)
    text = "\n".join(f"{100 * score.probability:5.1f} %  {score.label}" for score in prediction.top)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.multiline_textbbox((size // 2, size // 2), text, font=font)
    draw.rectangle((left - size // 4, top - size // 4, right + size // 4, bottom + size // 4), fill="black")
    draw.multiline_text((size // 2, size // 2), text, fill="white", font=font)
    return image
