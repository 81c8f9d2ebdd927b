"""From a frame to the tensor that the model takes: decoded, preprocessed and checked, in any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from ..bundle.bundle import Bundle
from ..errors import FrameError, InputError, TensorError
from ..sources.frames import Frame, Sample, require_tensor
from ..tasks.geometry import Geometry

UPRIGHT = 1  # EXIF's orientation of a picture that is stored as it is seen


@dataclass(frozen=True)
class ReadFrame:
    """A frame with the model's tensor, or with the reason why there is none.

    Attributes:
        frame: where it came from.
        tensor: of the model's shape without the batch; None where `error` says why.
        picture: what was decoded, where it is to be kept, as the model sees it turned.
        geometry: of the picture; None for a tensor.
        rotation_ignored: whether the picture notes a rotation that was not carried out.
        error: why it could not be read; empty where it could.
    """

    frame: Frame
    tensor: NDArray[Any] | None = None
    picture: Image.Image | None = None
    geometry: Geometry | None = None
    rotation_ignored: bool = False
    error: str = ""


class FrameReader:
    """Reads frames for one bundle.

    Args:
        bundle: it says what the model takes, and how pictures are preprocessed.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle.manifest.name
        self._tensor = bundle.manifest.input
        self._preprocess = bundle.manifest.preprocess

    def read(self, frame: Frame, *, keep_picture: bool) -> ReadFrame:
        """Read a frame; what is wrong with it becomes its error.

        Raises:
            InputError: it is a picture, and the bundle takes tensors.
        """
        try:
            return self.prepare(frame, keep_picture=keep_picture)
        except FrameError as error:
            return ReadFrame(frame, error=str(error))

    def prepare(self, frame: Frame, *, keep_picture: bool) -> ReadFrame:
        """Read a frame.

        Raises:
            InputError: it is a picture, and the bundle takes tensors.
            FrameError: it cannot be read, or not become the model's tensor.
        """
        tensor = self._captured(frame)
        if tensor is not None and not keep_picture and frame.captured is not None:
            height, width = frame.captured.size
            return ReadFrame(frame, tensor, geometry=self.geometry((width, height)))
        sample = frame.read()
        tensor = self.tensor(sample) if tensor is None else tensor
        if isinstance(sample, np.ndarray):
            return ReadFrame(frame, tensor)
        seen = self._turned(sample)
        return ReadFrame(
            frame,
            tensor,
            seen if keep_picture else None,
            self.geometry(seen.size),
            self._ignores_rotation(sample),
        )

    def tensor(self, sample: Sample) -> NDArray[Any]:
        """The model's tensor of one picture, or the tensor itself.

        Raises:
            InputError: it is a picture, and the bundle takes tensors.
            FrameError: the picture cannot be preprocessed, the tensor does not fit the model, or it holds NaN
                or Inf.
        """
        if isinstance(sample, np.ndarray):
            _require_finite(require_tensor(sample, self._tensor))
            return sample
        if self._preprocess is None:
            raise InputError(
                f"The bundle {self._bundle} takes tensors, not pictures.", available=".npy files, or arrays"
            )
        return self._preprocess(sample)

    def geometry(self, size: tuple[int, int]) -> Geometry | None:
        """Where the points of a picture of this (width, height) stand in the model's input."""
        return None if self._preprocess is None else self._preprocess.geometry(*size)

    def _turned(self, picture: Image.Image) -> Image.Image:
        if self._preprocess is None or not self._preprocess.exif_transpose:
            return picture
        turned = picture.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT
        return ImageOps.exif_transpose(picture) if turned else picture

    def _captured(self, frame: Frame) -> NDArray[Any] | None:
        """A camera's pixels where they are the model's tensor; None where Pillow must work on them."""
        if frame.captured is None or self._preprocess is None:
            return None
        fits = self._preprocess.takes_as_it_is(*frame.captured.size)
        return frame.captured.pixels(self._preprocess.color) if fits else None

    def _ignores_rotation(self, sample: Sample) -> bool:
        if isinstance(sample, np.ndarray) or self._preprocess is None or self._preprocess.exif_transpose:
            return False
        return sample.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT


def _require_finite(tensor: NDArray[Any]) -> None:
    """Refuse NaN and Inf, which INT8 would round to a label. A picture's pixels cannot hold them."""
    if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
        count = tensor.size - np.count_nonzero(np.isfinite(tensor))
        raise TensorError(f"The tensor holds {count} NaN or Inf.", wanted="finite numbers")
