"""From Pillow's memory to numpy's, in one copy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROW_BYTES = 1 << 10  # bytes beyond the picture's own, of which the encoder may want some for a row


def packed(image: Image.Image, order: str) -> NDArray[np.uint8]:
    """The pixels of an RGB or grey picture, shape (height, width, channels), not to be written to.

    Pillow keeps four bytes for each pixel of RGB, and `Image.tobytes`, on which numpy's own reading rests,
    packs them in blocks of 64 KiB that it joins: half of its time goes there. Its encoder, asked for all at
    once, does the same in one block; where a Pillow has none that can be asked, `tobytes` it is.

    Args:
        image: of mode RGB or L.
        order: of the channels: "RGB", "BGR" or "L".
    """
    height, width, channels = image.height, image.width, len(order)
    image.load()
    make = getattr(Image, "_getencoder", None)
    if make is None:
        data = image.tobytes("raw", order)
    else:
        encoder = make(image.mode, "raw", (order, 0, 1))
        encoder.setimage(image.im, (0, 0, width, height))
        _, status, data = encoder.encode(height * width * channels + ROW_BYTES)
        if status != 1:
            raise RuntimeError(f"Pillow's encoder ended with {status} in a picture of {width}x{height}")
    return np.frombuffer(data, np.uint8).reshape(height, width, channels)
