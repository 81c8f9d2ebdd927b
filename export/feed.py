"""How the pictures of a data set reach PyTorch, and how they reach the models that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.preprocess import Preprocess
from .data.dataset import Split


@dataclass(frozen=True)
class Feed:
    """The two ways of one picture.

    Attributes:
        trained: how the network's own inputs are made of pictures; None for tensors, fed as they are.
        served: how those of the shipped models are: the same, or the pixels of which they are made.
    """

    trained: Preprocess | None
    served: Preprocess | None

    def both(self, samples: Split) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The same samples for PyTorch, and for the shipped models, each of shape (N, ...)."""
        shown = samples.tensor(self.served)
        if self.trained is None or self.served is None or self.served == self.trained:
            return shown, shown
        step = 1 if self.served.color == self.trained.color else -1
        return np.stack([self.trained.normalized(frame[:, :, ::step]) for frame in shown]), shown

    def batches(self, samples: Split, size: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        """The same in batches of at most `size`, one in memory at a time."""
        for start in range(0, len(samples), size):
            yield self.both(samples.take(range(start, min(start + size, len(samples)))))
