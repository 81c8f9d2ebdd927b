"""Frames: what a source gives, in order. Each can be read in any thread."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..bundle.manifest import TensorSpec
from ..bundle.shapes import require_fit
from ..errors import FrameError, InputError, TensorError
from .captured import Captured
from .readers import TENSOR_ENDING, read_image, read_tensors
from .video import is_video, read_video

Sample = Image.Image | NDArray[Any]
"""A picture, or a tensor that is an input of the model as it is."""

MEMORY = "memory"
"""The source of frames that a caller gives as pictures or arrays."""


@dataclass(frozen=True)
class Frame:
    """One picture or tensor of a source, not yet decoded.

    Attributes:
        source: what it came from, as results name it.
        number: its place in the source, from 0. Frames that a camera dropped are numbered too.
        read: gives the picture, or the tensor; raises FrameError where there is none. Called in a worker.
        time: when it was taken from the source, in seconds since 1970.
        start: the same moment on `time.perf_counter`'s clock, from which latency counts.
        captured: the picture as a camera or a video gave it, from which a model's pixels may be had with no
            conversion; None where it did not come like that.
    """

    source: str
    number: int
    read: Callable[[], Sample]
    time: float = field(default_factory=clock.time)
    start: float = field(default_factory=clock.perf_counter)
    captured: Captured | None = None

    @classmethod
    def from_capture(cls, source: str, number: int, captured: Captured) -> Frame:
        """A frame of a camera or a video."""
        return cls(source, number, captured.image, captured=captured)

    @classmethod
    def from_sample(cls, source: str, number: int, sample: Sample) -> Frame:
        """A frame of a picture or a tensor in memory."""
        return cls(source, number, lambda: sample)


@runtime_checkable
class Source(Protocol):
    """Anything that gives frames, one after the other, and can be told to end.

    Attributes:
        dropped: how many frames came while nobody was ready for them; of files none ever does.
    """

    @property
    def dropped(self) -> int:
        """Frames lost so far."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """End: an iteration that waits for a frame gets no more. May be called from any thread."""
        ...


def failed_frame(source: str, number: int, error: FrameError) -> Frame:
    """A frame whose reading raises an error."""

    def refuse() -> Sample:
        raise error

    return Frame(source, number, refuse)


def sample_of(given: object, tensor: TensorSpec, *, pictures: bool) -> Sample:
    """The picture or the tensor that a caller gave.

    Args:
        given: a picture of Pillow's; uint8 of shape (height, width, 3), which is a picture in RGB; or a
            tensor that is an input of the model as it is. A model without preprocessing takes tensors only.
        tensor: the model's input.
        pictures: whether the model comes with a preprocessing.

    Raises:
        TensorError: an array that is none of these.
        InputError: something that is neither a picture nor an array.
    """
    if isinstance(given, np.ndarray):
        if pictures and given.dtype == np.uint8 and given.ndim == 3 and given.shape[2] == 3 and given.size:
            return Image.fromarray(np.ascontiguousarray(given))
        return require_tensor(given, tensor)
    if isinstance(given, Image.Image):
        return given
    raise InputError(
        "The input is neither a picture nor a tensor.",
        wanted="a path, a picture of Pillow's, a uint8 array of shape (height, width, 3) in RGB, or "
        f"a {tensor.dtype} array of shape ({', '.join(map(str, tensor.shape[1:]))})",
        got=f"{type(given).__module__}.{type(given).__qualname__}",
    )


def require_tensor(sample: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    """The sample itself, if it is an input of the model as it is, without the batch.

    Raises:
        TensorError: it is of another dtype or shape.
    """
    require_fit(
        sample,
        tensor.shape[1:],
        tensor.dtype,
        TensorError,
        "The tensor does not fit the model.",
        todo="give such a tensor; or, where the bundle takes pictures, a uint8 array of shape "
        "(height, width, 3) in RGB, or a picture of Pillow's",
    )
    return sample


def file_frames(path: Path, tensor: TensorSpec, *, pictures: bool) -> Iterator[Frame]:
    """The frames of one file: a picture's one, a video's, or the inputs in a .npy file.

    A file that cannot be opened gives one frame whose reading says why.

    Args:
        path: the file.
        tensor: the model's input.
        pictures: whether the model comes with a preprocessing, without which it takes tensors only.

    Raises:
        MissingDependency: a video, and OpenCV is not installed.
    """
    name = str(path)
    if path.suffix.lower() == TENSOR_ENDING:
        yield from _tensor_frames(path, tensor)
    elif not pictures:
        error = TensorError(f"{name} is not a tensor.", wanted=f"a {TENSOR_ENDING} file, for this model")
        yield failed_frame(name, 0, error)
    elif is_video(path):
        yield from _video_frames(path)
    else:
        yield Frame(name, 0, partial(read_image, path))


def _tensor_frames(path: Path, tensor: TensorSpec) -> Iterator[Frame]:
    try:
        samples = read_tensors(path, tensor.shape[1:], tensor.dtype)
    except FrameError as error:
        yield failed_frame(str(path), 0, error)
        return
    for number in range(len(samples)):
        yield Frame(str(path), number, partial(samples.__getitem__, number))


def _video_frames(path: Path) -> Iterator[Frame]:
    count = 0
    try:
        for captured in read_video(path):
            yield Frame.from_capture(str(path), count, captured)
            count += 1
    except FrameError as error:
        yield failed_frame(str(path), count, error)
