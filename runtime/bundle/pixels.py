"""The pixels of a Pillow picture as a numpy array, with one copy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROW_BYTES = 1 << 10  # space beyond the picture's own bytes, which the encoder may use for a row


def packed(image: Image.Image, order: str) -> NDArray[np.uint8]:
    """The pixels of an RGB or grey picture, shape (height, width, channels), not to be written to.

    Pillow keeps four bytes for each pixel of RGB. `Image.tobytes`, which numpy uses, packs them in blocks of
    64 KiB and joins these, which takes half of its time. Pillow's encoder can pack the whole picture in one
    block; where a Pillow does not offer it, `tobytes` is used.

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
