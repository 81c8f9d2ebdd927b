"""From a picture to the tensor that the model takes.

Preprocessing is data: it travels in the bundle's manifest, and this module carries it out with Pillow
and numpy alone. The result is bit-equal to torchvision's ``ImageClassification`` transforms on PIL
images (resize, centre crop, scale to 0..1, normalize); tests hold it to that. A model that takes uint8
normalizes in its own graph: here a picture is then resized and cropped, and its pixels are the tensor.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import ImageError, InputError
from ..records import decode
from ..tasks.geometry import Geometry
from .pixels import packed

Color = Literal["rgb", "bgr", "gray"]
CHANNELS = {"rgb": 3, "bgr": 3, "gray": 1}
PILLOW_ORDERS: dict[Color, str] = {"rgb": "RGB", "bgr": "BGR", "gray": "L"}  # as Pillow calls them
DTYPES_AND_LAYOUTS = {
    ("float32", "NCHW"),
    ("uint8", "NHWC"),
}  # dtype and layout of a batch that a model may take
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
MAX_PIXELS = 100_000_000
# Pillow reduces these to 8 bits, most by clipping: the network would see another picture.
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an input tensor.

    It is of shape (channels, height, width) and float32, or of shape (height, width, channels) and uint8.

    Attributes:
        resize: length in pixels of the shorter side after resizing (the ratio is kept), or
            (height, width), or None for no resizing.
        crop: (height, width) in pixels of the centre crop, or None; what is smaller is padded with 0.
        interpolation: a key of INTERPOLATIONS.
        antialias: always true; Pillow filters whenever it shrinks.
        color: the channels in their order: "rgb", "bgr", or "gray" for one.
        mean, std: one value a channel, in that order, in units of the 0..1 scale. With dtype "uint8" the
            model subtracts and divides by them itself.
        layout: of a batch: "NCHW" with dtype "float32", "NHWC" with "uint8".
        dtype: numpy's name of the tensor's type.
        source: (height, width) of the frames of a model that resizes and crops them itself, as `resize`,
            `crop` and `interpolation` say; with dtype "uint8" only. Pictures of another size are scaled to
            cover it, and cropped in the centre. None where resizing and cropping are done here.
        exif_transpose: whether a rotation noted in the file is carried out first. Off by default, because
            torchvision's loaders, with which networks are trained, do not.
        letterbox: grey, 0..255, of the borders where a picture is resized with its ratio kept until it fits
            into `resize`, (height, width), and stands in the middle, as YOLO networks are trained (with 114).
            None for no borders.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    antialias: Literal[True] = True
    color: Color = "rgb"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "uint8"] = "float32"
    exif_transpose: bool = False
    source: tuple[int, int] | None = None
    letterbox: int | None = None

    def __post_init__(self) -> None:
        if self.color not in CHANNELS or self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"color must be one of {', '.join(CHANNELS)} and interpolation one of "
                f"{', '.join(INTERPOLATIONS)}, not {self.color!r} and {self.interpolation!r}"
            )
        if (self.dtype, self.layout) not in DTYPES_AND_LAYOUTS:
            raise ValueError(
                f"dtype and layout must be float32 and NCHW, or uint8 and NHWC, "
                f"not {self.dtype} and {self.layout}"
            )
        if self.source is not None and self.dtype != "uint8":
            raise ValueError("source is for a model that takes uint8")
        if self.letterbox is not None:
            self._require_letterbox(self.letterbox)
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"mean and std need {self.channels} value(s) each for color {self.color!r}, "
                f"not {len(self.mean)} and {len(self.std)}"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise ValueError("mean must be finite, and std finite and above 0")
        resize = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        for height, width in filter(None, (resize, self.crop, self.source)):
            if min(height, width) < 1 or height * width > MAX_PIXELS:
                raise ValueError(f"resize, crop and source must give between 1 and {MAX_PIXELS} pixels")

    @property
    def channels(self) -> int:
        """Number of channels of the result."""
        return CHANNELS[self.color]

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of every result, or None where it depends on the picture."""
        if self.source is not None:
            return self.source
        if self.crop is not None:
            return self.crop
        return None if isinstance(self.resize, int) else self.resize

    def geometry(self, width: int, height: int) -> Geometry:
        """Where the points of a picture of this size stand in the network's input.

        The size is that of the picture as it is seen, where `exif_transpose` turns it. Where the model
        resizes frames itself, both steps count.
        """
        placed = _placed((width, height), self._resized(height, width), self.size)
        if self.source is None:
            return placed
        return placed.then(replace(self, source=None).geometry(*self.source[::-1]))

    def pixels(self, image: Image.Image) -> Image.Image:
        """Colour conversion, resize, crop and borders: the part that works on 8-bit pixels.

        Raises:
            ImageError: the picture has more than 8 bits a channel, or is so long and thin that resizing it
                would fill the memory.
        """
        if self.exif_transpose:
            image = ImageOps.exif_transpose(image)
        if image.mode in DEEP_MODES:
            raise ImageError(f"The picture holds more than 8 bits a channel (mode {image.mode}).")
        image = image.convert("RGB")
        if self.color == "gray":
            image = image.convert("L")
        height, width = self._resized(image.height, image.width)
        if (width, height) != image.size:
            if height * width > MAX_PIXELS:
                raise ImageError(
                    f"A picture of {image.width}x{image.height} pixels would grow to {width}x{height} "
                    "when it is resized.",
                    todo="cut the picture to a less extreme shape",
                )
            image = image.resize((width, height), INTERPOLATIONS[self.interpolation])
        return image if self.size is None else _centre_crop(image, *self.size, self.letterbox or 0)

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        """Turn one picture into the model's tensor."""
        return self.tensor(self.pixels(image))

    def tensor(self, image: Image.Image) -> NDArray[Any]:
        """The model's tensor of a picture that `pixels` gave."""
        pixels = packed(image, PILLOW_ORDERS[self.color])
        return pixels if self.dtype == "uint8" else self.normalized(pixels)

    def normalized(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels, shape (height, width, channels), as the network was trained on them.

        Returns:
            (pixels / 255 - mean) / std in shape (channels, height, width).
        """
        planes = pixels.transpose(2, 0, 1)
        scaled = np.empty(planes.shape, np.float32)
        np.divide(planes, np.float32(255), out=scaled, dtype=np.float32)
        scaled -= np.array(self.mean, np.float32)[:, None, None]
        scaled /= np.array(self.std, np.float32)[:, None, None]
        return scaled

    def takes_as_it_is(self, height: int, width: int) -> bool:
        """Whether the pixels of a picture of this size are the tensor: uint8, not resized and not cropped."""
        size = self.size or (height, width)
        return self.dtype == "uint8" and self._resized(height, width) == (height, width) == size

    def matrices(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resizing and cropping of a frame of this size, as two matrices.

        Returns:
            The weights of the rows, shape (height of the result, height), and of the columns, shape (width of
            the result, width): rows @ pixels @ columns.T is a channel as Pillow gives it, but for its
            rounding to 8 bits, and cutting to 0..255, after each of the products, that of the columns first.

        Raises:
            ValueError: there is a letterbox, whose borders are no product of matrices.
        """
        if self.letterbox is not None:
            raise ValueError("the borders of a letterbox are no product of matrices")
        resized = self._resized(height, width)
        crop = self.crop or resized

        def weights(axis: int, length: int) -> NDArray[np.float32]:
            identity = Image.fromarray(np.eye(length, dtype=np.float32))
            image = identity.resize((length, resized[axis]), INTERPOLATIONS[self.interpolation])
            return np.array(_centre_crop(image, crop[axis], length))

        return weights(0, height), weights(1, width)

    def for_pixels(self, color: Color | None = None, source: tuple[int, int] | None = None) -> Preprocess:
        """The same preprocessing for a model that normalizes its input itself.

        Args:
            color: order of the channels that the model takes; None for this one's own.
            source: (height, width) of the frames that it also resizes and crops; None where it does not.
        """
        flipped = (color or self.color) != self.color
        mean, std = (self.mean[::-1], self.std[::-1]) if flipped else (self.mean, self.std)
        return replace(
            self, color=color or self.color, mean=mean, std=std, layout="NHWC", dtype="uint8", source=source
        )

    def _require_letterbox(self, grey: int) -> None:
        if not isinstance(self.resize, tuple) or self.crop is not None or self.source is not None:
            raise ValueError("letterbox needs resize as (height, width), and neither crop nor source")
        if not 0 <= grey <= 255:
            raise ValueError(f"letterbox must be a grey from 0 to 255, or None, not {grey}")

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.source is not None:
            scale = max(self.source[0] / height, self.source[1] / width)
            return max(self.source[0], round(scale * height)), max(self.source[1], round(scale * width))
        if self.resize is None:
            return height, width
        if isinstance(self.resize, tuple):
            if self.letterbox is None:
                return self.resize
            scale = min(self.resize[0] / height, self.resize[1] / width)
            return max(1, round(scale * height)), max(1, round(scale * width))
        if height <= width:
            return self.resize, int(self.resize * width / height)
        return int(self.resize * height / width), self.resize


def _placed(picture: tuple[int, int], resized: tuple[int, int], crop: tuple[int, int] | None) -> Geometry:
    """The geometry of a picture (width, height) that is resized, then cropped, to (height, width) each."""
    scale = (resized[1] / picture[0], resized[0] / picture[1])
    if crop is None:
        return Geometry(picture, resized[::-1], scale)
    shift = []
    for had, wanted in ((resized[1], crop[1]), (resized[0], crop[0])):
        before = (max(had, wanted) - had) // 2  # what padding puts there
        shift.append(float(before - round((max(had, wanted) - wanted) / 2.0)))
    return Geometry(picture, crop[::-1], scale, (shift[0], shift[1]))


def _centre_crop(image: Image.Image, height: int, width: int, grey: int = 0) -> Image.Image:
    if image.height < height or image.width < width:
        image = _pad(image, max(height, image.height), max(width, image.width), grey)
    if (image.height, image.width) == (height, width):
        return image
    top = round((image.height - height) / 2.0)
    left = round((image.width - width) / 2.0)
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, height: int, width: int, grey: int) -> Image.Image:
    padded = Image.new(image.mode, (width, height), (grey,) * len(image.getbands()))
    padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return padded


def read_preprocess(path: Path) -> Preprocess:
    """A preprocessing that stands in a JSON file as it does in a manifest.

    Raises:
        InputError: the file is absent, or does not describe one.
    """
    try:
        return decode(Preprocess, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} does not describe a preprocessing: {error}",
            wanted='{"resize": 256, "crop": [224, 224], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}',
            todo="write down what your training did, which is never guessed: docs/tutorial.md has the usual "
            "ones, and `edgeproof inspect BUNDLE --json` shows one under `preprocess`",
        ) from error
