"""Everything that one command line, or one call, gives as its source."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..bundle.manifest import TensorSpec
from ..errors import FrameError, InputError
from .camera import Camera, is_camera, open_camera
from .frames import MEMORY, Frame, Sample, Source, failed_frame, file_frames, sample_of
from .opencv import load_opencv
from .readers import TENSOR_ENDING, expand, picture_endings
from .video import is_video

STDIN = "-"
POLL_SECONDS = 0.2  # how often a wait for stdin checks whether it was closed
CHUNK_BYTES = 1 << 16

Item = str | Path | Sample | Frame


def open_source(given: Source | Item | Iterable[Item], tensor: TensorSpec, *, pictures: bool) -> Source:
    """The frames of whatever a caller gives.

    Args:
        given: a source, an item as `SourceChain` takes it, an iterable of items, or an array of inputs along
            a first axis more.
        tensor: the model's input.
        pictures: whether the model comes with a preprocessing, without which it takes tensors only.

    Raises:
        InputError, MissingDependency: as `SourceChain.open` does, where only strings are given.
    """
    if isinstance(given, Source):
        return given
    stacked = isinstance(given, np.ndarray) and given.ndim >= len(tensor.shape)
    alone = isinstance(given, (str, Path, Frame, Image.Image, np.ndarray)) or not isinstance(given, Iterable)
    items: Iterable[Any] = [given] if alone and not stacked else given
    if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
        return SourceChain.open(items, tensor, pictures=pictures)
    return SourceChain(items, tensor, pictures=pictures)


def single_frame(path: Path, tensor: TensorSpec, *, pictures: bool) -> Frame:
    """The one frame of a file.

    Raises:
        InputError: it is a folder, or a file of several frames.
        MissingDependency: a video, and OpenCV is not installed.
    """
    frames = [] if path.is_dir() else list(islice(file_frames(path, tensor, pictures=pictures), 2))
    if len(frames) != 1:
        raise InputError(
            f"{path} is not one picture or tensor.",
            got="a folder" if path.is_dir() else f"{len(frames) or 'no'} frames or more",
            todo="Runner.stream takes folders, videos and files of several tensors",
        )
    return frames[0]


class SourceChain:
    """The frames of several items, one after the other: files, then perhaps one source that does not end.

    Args:
        given: the items. Strings are sources as the command line takes them: files, folders, globs, `-` for
            paths on stdin, and cameras. A Path is one file, opened when its turn comes. Pictures and arrays
            are as `sample_of` takes them. A Frame is itself.
        tensor: the model's input.
        pictures: whether the model comes with a preprocessing, without which it takes tensors only.

    Attributes:
        skipped: files of folders that are neither pictures nor tensors, hidden ones apart.
    """

    def __init__(self, given: Iterable[Item], tensor: TensorSpec, *, pictures: bool) -> None:
        self._given = given
        self._tensor = tensor
        self._pictures = pictures
        self._endings = folder_endings(pictures=pictures)
        self.skipped = 0
        self._closed = False
        self._camera: Camera | None = None

    @classmethod
    def open(cls, sources: Iterable[str], tensor: TensorSpec, *, pictures: bool) -> SourceChain:
        """Check every source before the first is read, and open the camera among them.

        Raises:
            InputError: a source does not exist or matches nothing, a source stands after one that does not
                end, or the camera cannot be opened.
            MissingDependency: there is a video or a camera, and OpenCV is not installed.
        """
        sources = list(sources)
        endless = [source for source in sources if is_camera(source) or source == STDIN]
        if endless and endless != sources[-1:]:
            raise InputError(
                f"{endless[0]} does not end by itself.",
                wanted="it as the last source, and no other of its kind",
                todo="name it last, or start a process for each camera",
            )
        if endless and is_camera(endless[0]) and not pictures:
            raise InputError("The bundle takes tensors, not pictures.", available=f"{TENSOR_ENDING} files")
        skipped: list[Path] = []
        files = expand(
            sources[: len(sources) - len(endless)], folder_endings(pictures=pictures), skipped.append
        )
        if pictures and any(is_video(path) for path in files):
            load_opencv()
        chain = cls([*files, *endless], tensor, pictures=pictures)
        chain.skipped = len(skipped)
        if endless and is_camera(endless[0]):
            chain._camera = open_camera(endless[0])
        return chain

    @property
    def dropped(self) -> int:
        """Frames of a camera that were dropped, because a newer one came before they were wanted."""
        return self._camera.dropped if self._camera else 0

    def close(self) -> None:
        """End. Signal-safe: nothing is waited for."""
        self._closed = True
        if self._camera:
            self._camera.close()

    def __iter__(self) -> Iterator[Frame]:
        for number, item in enumerate(self._given):
            if isinstance(item, Frame):
                yield item
            elif isinstance(item, (str, Path)):
                yield from self._frames(item)
            else:
                yield self._in_memory(number, item)
            if self._closed:
                return

    def _in_memory(self, number: int, item: Sample) -> Frame:
        try:
            return Frame.from_sample(MEMORY, number, sample_of(item, self._tensor, pictures=self._pictures))
        except FrameError as error:
            return failed_frame(MEMORY, number, error)

    def _frames(self, one: str | Path) -> Iterator[Frame]:
        if isinstance(one, Path):
            yield from self._file(one)
        elif one == STDIN:
            for path in self._paths_on_stdin():
                yield from self._file(path)
        elif is_camera(one):
            self._camera = self._camera or open_camera(one)
            if self._closed:
                self._camera.close()
            yield from self._camera
        else:
            skipped: list[Path] = []
            paths = expand([one], self._endings, skipped.append)
            self.skipped += len(skipped)
            for path in paths:
                yield from self._file(path)

    def _file(self, path: Path) -> Iterator[Frame]:
        return file_frames(path, self._tensor, pictures=self._pictures)

    def _paths_on_stdin(self) -> Iterator[Path]:
        """Lines as they come. Not through sys.stdin: a thread that waits there holds its lock at exit."""
        handle, rest = sys.stdin.fileno(), b""
        while not self._closed:
            if not select.select([handle], [], [], POLL_SECONDS)[0]:
                continue
            chunk = os.read(handle, CHUNK_BYTES)
            *lines, rest = (rest + (chunk or b"\n")).split(b"\n")
            for line in filter(None, (line.rstrip(b"\r") for line in lines)):
                yield Path(os.fsdecode(line))
            if not chunk:
                return


def folder_endings(*, pictures: bool) -> set[str]:
    """Endings of the files that a folder gives: tensors', and pictures' where the model takes them."""
    return {TENSOR_ENDING, *picture_endings()} if pictures else {TENSOR_ENDING}
