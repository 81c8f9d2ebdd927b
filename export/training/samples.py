"""Samples as a network takes them: prepared once where they fit into memory, else each time they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError
from ...runtime.tasks.boxes import Boxes
from ...runtime.tasks.detection import Detection
from ...runtime.tasks.segmentation import Segmentation
from ..data.dataset import Split

MAX_CACHED_BYTES = 3 << 29  # 1.5 GiB: all of Fashion-MNIST at 3x32x32 is half of it
CHUNK = 256


@dataclass(frozen=True)
class Samples:
    """Prepared samples, with the truth of each.

    Attributes:
        read: gives the samples at some positions as one array, shape (N, ...), float32.
        truths: of each sample, in coordinates of the network's input: class indices, shape (N,), or a list of
            maps or of boxes.
    """

    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    truths: NDArray[np.int64] | Sequence[Any]

    def __len__(self) -> int:
        return len(self.truths)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.read(np.arange(1)).shape[1:]

    @property
    def placed(self) -> bool:
        """Whether the truths have a place in the picture."""
        return not isinstance(self.truths, np.ndarray)


def prepare(
    split: Split, preprocess: Preprocess | None, progress: Progress, max_bytes: int = MAX_CACHED_BYTES
) -> Samples:
    """Prepare a split; if it takes at most `max_bytes` bytes, it is prepared once and kept."""
    first = split.take([0]).tensor(preprocess)
    truths = _truths(split, preprocess, first.shape[2:])
    if first.nbytes * len(split) > max_bytes:
        return Samples(lambda positions: split.take(positions).tensor(preprocess), truths)
    kept = np.empty((len(split), *first.shape[1:]), np.float32)
    chunks = cut(np.arange(len(split)), CHUNK)
    for positions in progress.track(chunks, len(chunks), "preparing samples"):
        kept[positions] = split.take(positions).tensor(preprocess)
    return Samples(lambda positions: kept[positions], truths)


def _truths(
    split: Split, preprocess: Preprocess | None, side: tuple[int, ...]
) -> NDArray[np.int64] | list[Any]:
    """The truths in coordinates of the network's input, which is of shape (..., *side)."""
    if isinstance(split.labels, np.ndarray):
        return split.labels
    if preprocess is None:
        raise DataError("A tensor has no place for boxes or masks.", todo="give a data set of pictures")
    return [_moved(split, position, preprocess, side) for position in range(len(split))]


def _moved(split: Split, position: int, preprocess: Preprocess, side: tuple[int, ...]) -> Any:
    truth, picture = split.labels[position], split.load(position)
    if isinstance(picture, np.ndarray):
        raise DataError("A tensor has no place for boxes or masks.", todo="give a data set of pictures")
    geometry = preprocess.geometry(*picture.size)
    if isinstance(truth, Boxes):
        return Detection("boxes", *side).truth_in_input(truth, geometry, truth)
    return Segmentation().truth_in_input(truth, geometry, np.zeros(side, np.uint8))


def cut(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Chunks of `size`; a single sample left over joins the chunk before: batch norm cannot train on one."""
    chunks = np.split(positions, range(size, len(positions), size))
    if len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    return chunks


def batches(samples: Samples, positions: NDArray[np.int64], size: int) -> Iterator[NDArray[np.float32]]:
    """The samples at these positions, in order, one batch in memory at a time."""
    for chunk in cut(positions, size):
        yield samples.read(chunk)
