"""A picture as OpenCV gives it: BGR, BGRx with a byte of padding, NV12 (luma and chroma), or grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..bundle.preprocess import Color
from ..errors import ImageError
from .opencv import load_opencv

Layout = Literal["GRAY8", "BGR", "BGRx", "NV12"]
FORMATS_WITH_PADDING = ("BGRx", "BGRA")


@dataclass(frozen=True)
class Captured:
    """One picture of a camera or a video, not yet converted.

    NV12 is read as ITU-R BT.601 with limited range (16 to 235), as cameras give it.

    Attributes:
        values: as `cv2.VideoCapture.read` gave them.
        pixel_format: GStreamer's name of the format where the pipeline says it, else empty. OpenCV hands out
            NV12 like a grey picture of one and a half times the height.
    """

    values: NDArray[Any]
    pixel_format: str = ""

    @property
    def layout(self) -> Layout:
        """How the picture lies in memory.

        Raises:
            ImageError: it is of another kind, such as 16 bits deep, or of sides that NV12 cannot have.
        """
        shape, known = self.values.shape, self.values.dtype == np.uint8 and self.values.size > 0
        if known and len(shape) == 3 and shape[2] == 3:
            return "BGR"
        if known and len(shape) == 3 and shape[2] == 4 and self.pixel_format in FORMATS_WITH_PADDING:
            return "BGRx"
        if known and len(shape) == 2 and self.pixel_format in ("", "GRAY8"):
            return "GRAY8"
        if (
            known
            and len(shape) == 2
            and self.pixel_format == "NV12"
            and not shape[0] % 3
            and not shape[1] % 2
        ):
            return "NV12"
        raise ImageError(
            "The frame is not an 8-bit picture that can be read.",
            wanted="uint8 of shape (height, width, 3) for BGR, (height, width, 4) for BGRx, (height, width) "
            "for GRAY8, or (height * 3 / 2, width) with even sides for NV12",
            got=f"{self.values.dtype} of shape {shape}"
            + (f", {self.pixel_format} by the pipeline" if self.pixel_format else ""),
            todo="end a GStreamer pipeline in video/x-raw,format=BGRx ! appsink",
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels.

        Raises:
            ImageError: as `layout`.
        """
        height, width = self.values.shape[:2]
        return (height * 2 // 3, width) if self.layout == "NV12" else (height, width)

    def image(self) -> Image.Image:
        """The picture as Pillow's.

        Raises:
            ImageError: as `layout`.
        """
        layout = self.layout
        if layout == "GRAY8":
            return Image.fromarray(self.values)
        colours = self._colours("rgb") if layout == "NV12" else self.values
        height, width = colours.shape[:2]
        order = "RGB" if layout == "NV12" else layout.upper()
        return Image.frombuffer("RGB", (width, height), np.ascontiguousarray(colours), "raw", order, 0, 1)

    def pixels(self, color: Color) -> NDArray[np.uint8] | None:
        """The pixels, shape (height, width, channels); the very memory where they lie like that already.

        None where colours would have to be made of grey, or grey of colours: that is Pillow's work.

        Args:
            color: the channels in the order that is wanted.

        Raises:
            ImageError: as `layout`.
        """
        is_gray = self.layout == "GRAY8"
        if is_gray != (color == "gray"):
            return None
        return self.values[:, :, None] if is_gray else self._colours(color)

    def _colours(self, color: Color) -> NDArray[np.uint8]:
        layout = self.layout
        if layout == "BGR" and color == "bgr":
            return self.values
        cv2 = load_opencv()
        source = {"BGR": "BGR", "BGRx": "BGRA", "NV12": "YUV"}[layout]
        suffix = "_NV12" if layout == "NV12" else ""
        return cv2.cvtColor(self.values, getattr(cv2, f"COLOR_{source}2{color.upper()}{suffix}"))
