"""What the drawings of several tasks share: text on a picture, and a colour for each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LINES_PER_PICTURE = 20  # lines of text that would fill a picture's height
MIN_FONT_SIZE = 10  # pixels
COLOURS = 256


def with_text(picture: Image.Image, lines: Sequence[str]) -> Image.Image:
    """A copy of the picture, in RGB, with lines of text in its upper left corner."""
    image = picture.convert("RGB")
    if not lines:
        return image
    size = font_size(image)
    text = "\n".join(lines)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    left, top, right, bottom = draw.multiline_textbbox((size // 2, size // 2), text, font=font)
    draw.rectangle((left - size // 4, top - size // 4, right + size // 4, bottom + size // 4), fill="black")
    draw.multiline_text((size // 2, size // 2), text, fill="white", font=font)
    return image


def font_size(image: Image.Image) -> int:
    """Height of text that can be read on a picture, in pixels."""
    return max(MIN_FONT_SIZE, image.height // LINES_PER_PICTURE)


def palette() -> NDArray[np.uint8]:
    """A colour for each of 256 classes, shape (256, 3): PASCAL VOC's, in which class 0 is black."""
    colours = np.zeros((COLOURS, 3), np.uint8)
    for index in range(COLOURS):
        rest = index
        for shift in range(7, -1, -1):
            for channel in range(3):
                colours[index, channel] |= ((rest >> channel) & 1) << shift
            rest >>= 3
    return colours
