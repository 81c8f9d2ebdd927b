"""Samples as a network takes them: prepared once where they fit into memory, else anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ..data.dataset import Split

KEPT_BYTES = 3 << 29  # 1.5 GiB: all of Fashion-MNIST at 3x32x32 is half of it
PIECE = 256


@dataclass(frozen=True)
class Samples:
    """Prepared samples, with the class index of each.

    Attributes:
        read: gives the samples at some positions as one array, shape (N, ...), float32.
        labels: class index of each sample, shape (N,), int64.
    """

    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def prepare(
    split: Split, preprocess: Preprocess | None, progress: Progress, most: int = KEPT_BYTES
) -> Samples:
    """Prepare a split; what takes up to `most` bytes is prepared once and kept."""
    first = split.take([0]).tensor(preprocess)
    if first.nbytes * len(split) > most:
        return Samples(lambda positions: split.take(positions).tensor(preprocess), split.labels)
    kept = np.empty((len(split), *first.shape[1:]), np.float32)
    pieces = cut(np.arange(len(split)), PIECE)
    for positions in progress.track(pieces, len(pieces), "preparing samples"):
        kept[positions] = split.take(positions).tensor(preprocess)
    return Samples(lambda positions: kept[positions], split.labels)


def cut(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Pieces of `size`; a single one left over joins the piece before, for batch norm cannot train on one."""
    pieces = np.split(positions, range(size, len(positions), size))
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces


def batches(samples: Samples, positions: NDArray[np.int64], size: int) -> Iterator[NDArray[np.float32]]:
    """The samples at these positions, in order, one batch in memory at a time."""
    for piece in cut(positions, size):
        yield samples.read(piece)
