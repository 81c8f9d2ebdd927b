"""All that one command line, or one call, names as its source."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..bundle.manifest import TensorSpec
from ..errors import InputError
from .camera import Camera, is_camera, open_camera
from .frames import Frame, file_frames
from .opencv import load_opencv
from .readers import TENSOR_ENDING, expand, picture_endings
from .video import is_video

STDIN = "-"
POLL_SECONDS = 0.2  # seconds after which a wait for stdin looks whether it is still wanted
CHUNK_BYTES = 1 << 16


class Inputs:
    """The frames of several sources, one after the other: files, then perhaps one that does not end.

    Args:
        given: strings are sources as the command line takes them: files, folders, globs, `-` for paths on
            stdin, and cameras. A Path is one file, opened when its turn comes, and a Frame is itself.
        tensor: the model's input.
        pictures: whether the model comes with a preprocessing, without which it takes tensors only.
    """

    def __init__(self, given: Iterable[str | Path | Frame], tensor: TensorSpec, *, pictures: bool) -> None:
        self._given = given
        self._tensor = tensor
        self._pictures = pictures
        self._endings = folder_endings(pictures=pictures)
        self._closed = False
        self._camera: Camera | None = None

    @classmethod
    def open(cls, sources: Iterable[str], tensor: TensorSpec, *, pictures: bool) -> Inputs:
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
        files = expand(sources[: len(sources) - len(endless)], folder_endings(pictures=pictures))
        if pictures and any(is_video(path) for path in files):
            load_opencv()
        inputs = cls([*files, *endless], tensor, pictures=pictures)
        if endless and is_camera(endless[0]):
            inputs._camera = open_camera(endless[0])
        return inputs

    @property
    def dropped(self) -> int:
        """Frames of a camera that came while nobody was ready for them."""
        return self._camera.dropped if self._camera else 0

    def close(self) -> None:
        """End. Signal-safe: nothing is waited for."""
        self._closed = True
        if self._camera:
            self._camera.close()

    def __iter__(self) -> Iterator[Frame]:
        for one in self._given:
            if isinstance(one, Frame):
                yield one
            else:
                yield from self._frames(one)
            if self._closed:
                return

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
            for path in expand([one], self._endings):
                yield from self._file(path)

    def _file(self, path: Path) -> Iterator[Frame]:
        return file_frames(path, self._tensor, pictures=self._pictures)

    def _paths_on_stdin(self) -> Iterator[Path]:
        """Lines as they come. Not by sys.stdin, whose lock a reader that waits would hold at the exit."""
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
