"""A few encoded pictures for `verify`, with their preprocessed tensors and PyTorch's labels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ...runtime.sources.readers import decode_image

PICTURES = 4
SIDE = 512  # pixels at most, so that bundles stay small
JPEG_QUALITY = 95
QUARTER_TURN = 6  # EXIF's orientation of a picture that is to be turned before it is seen


@dataclass(frozen=True)
class GoldenPicture:
    """One encoded picture.

    Attributes:
        file: its name in the bundle.
        data: the file's bytes.
        tensor: what the bundle's preprocessing gives for exactly these bytes.
        label: that of the origin's best class for that tensor; "" where the task is no classification.
    """

    file: str
    data: bytes
    tensor: NDArray[Any]
    label: str


def most_confident(scores: NDArray[np.floating], count: int = PICTURES) -> list[int]:
    """Positions of the samples whose two best scores differ most, of different classes if possible.

    Where two classes score nearly the same, a device that rounds in another way may rightly give the other.

    Args:
        scores: of each sample, shape (N, classes).
        count: how many; fewer where there are fewer samples.
    """
    ranked = np.sort(scores, axis=1)
    margins = ranked[:, -1] - ranked[:, -2] if scores.shape[1] > 1 else ranked[:, -1]
    order = [int(position) for position in np.argsort(-margins, kind="stable")]
    first: dict[int, int] = {}
    for position in order:
        first.setdefault(int(scores[position].argmax()), position)
    others = [position for position in order if position not in first.values()]
    return [*first.values(), *others][:count]


def record_pictures(
    images: Iterable[Image.Image],
    preprocess: Callable[[Image.Image], NDArray[Any]],
    labels_of: Callable[[NDArray[Any]], Sequence[str]],
) -> tuple[GoldenPicture, ...]:
    """Encode pictures, as PNG and JPEG in turn, and record the tensors and labels of the encoded files.

    Args:
        images: what is encoded, made smaller where a side has more than SIDE pixels.
        preprocess: as the bundle's runner prepares a picture.
        labels_of: the label that the origin gives each of the tensors stacked, shape (K, ...); "" for none.
    """
    files = [_encode(image, number) for number, image in enumerate(images)]
    if not files:
        return ()
    tensors = [preprocess(decode_image(io.BytesIO(data), name)) for name, data in files]
    labels = labels_of(np.stack(tensors))
    return tuple(
        GoldenPicture(name, data, tensor, label)
        for (name, data), tensor, label in zip(files, tensors, labels, strict=True)
    )


def _encode(image: Image.Image, number: int) -> tuple[str, bytes]:
    """Name and bytes of a picture, without metadata such as the place where it was taken."""
    small = image.convert(image.mode if image.mode in ("L", "RGB") else "RGB")
    small.info = {}
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    if number % 2 == 0:
        small.save(stream, "PNG")
        return f"golden-{number}.png", stream.getvalue()
    exif = Image.Exif()
    if number == PICTURES - 1:  # so that it shows whether rotations are carried out
        exif[ExifTags.Base.Orientation] = QUARTER_TURN
    small.save(stream, "JPEG", quality=JPEG_QUALITY, exif=exif)
    return f"golden-{number}.jpg", stream.getvalue()
