"""From a frame to the tensor that the model takes: decoded, preprocessed and checked, in any thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..bundle.bundle import Bundle
from ..errors import FrameError, InputError, TensorError
from ..sources.frames import Frame, Sample, require_tensor

UPRIGHT = 1  # EXIF's orientation of a picture that is stored as it is seen


@dataclass(frozen=True)
class ReadFrame:
    """A frame with the model's tensor, or with the reason why there is none.

    Attributes:
        frame: where it came from.
        tensor: of the model's shape without the batch; None where `error` says why.
        picture: what was decoded, where it is to be kept.
        rotation_ignored: whether the picture notes a rotation that was not carried out.
        error: why it could not be read; empty where it could.
    """

    frame: Frame
    tensor: NDArray[Any] | None = None
    picture: Image.Image | None = None
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
            tensor = self._captured(frame)
            if tensor is not None and not keep_picture:
                return ReadFrame(frame, tensor)
            sample = frame.read()
            picture = sample if keep_picture and isinstance(sample, Image.Image) else None
            tensor = self.tensor(sample) if tensor is None else tensor
            return ReadFrame(frame, tensor, picture, self._ignores_rotation(sample))
        except FrameError as error:
            return ReadFrame(frame, error=str(error))

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
