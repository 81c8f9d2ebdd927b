"""Samples as a network takes them: prepared once where they fit into memory, else each time they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ..data.dataset import Split

MAX_CACHED_BYTES = 3 << 29  # 1.5 GiB: all of Fashion-MNIST at 3x32x32 is half of it
CHUNK = 256


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
    split: Split, preprocess: Preprocess | None, progress: Progress, max_bytes: int = MAX_CACHED_BYTES
) -> Samples:
    """Prepare a split; if it takes at most `max_bytes` bytes, it is prepared once and kept."""
    first = split.take([0]).tensor(preprocess)
    if first.nbytes * len(split) > max_bytes:
        return Samples(lambda positions: split.take(positions).tensor(preprocess), split.labels)
    kept = np.empty((len(split), *first.shape[1:]), np.float32)
    chunks = cut(np.arange(len(split)), CHUNK)
    for positions in progress.track(chunks, len(chunks), "preparing samples"):
        kept[positions] = split.take(positions).tensor(preprocess)
    return Samples(lambda positions: kept[positions], split.labels)


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
