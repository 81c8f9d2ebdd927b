"""How the pictures of a data set reach PyTorch, and how they reach the models that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...runtime.bundle.preprocess import Preprocess
from ..data.dataset import Split


@dataclass(frozen=True)
class Feed:
    """How a picture is prepared for PyTorch, and how for the models that are shipped.

    Where the shipped models resize frames themselves, PyTorch takes what Pillow makes of the same frames.

    Attributes:
        trained: how the network's own inputs are made of pictures; None for tensors, fed as they are.
        served: how those of the shipped models are: the same, or the pixels of which they are made.
    """

    trained: Preprocess | None
    served: Preprocess | None

    def both(self, samples: Split) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The same samples for PyTorch, and for the shipped models, each of shape (N, ...)."""
        served = samples.tensor(self.served)
        return self.trained_inputs(served), served

    def trained_inputs(self, served: NDArray[Any]) -> NDArray[np.float32]:
        """PyTorch's inputs for samples as the shipped models take them, shape (N, ...)."""
        if self.trained is None or self.served is None or self.served == self.trained:
            return served
        frames = self._in_trained_order(served)
        if self.served.source is None:
            return np.stack([self.trained.normalized(frame) for frame in frames])
        return np.stack([self.trained(_picture(frame)) for frame in frames])

    def resized(self, served: NDArray[np.uint8]) -> NDArray[np.float32]:
        """PyTorch's inputs as models that resize frames themselves compute them, here in float64.

        Args:
            served: frames, shape (N, height, width, channels).
        """
        if self.trained is None or self.served is None or self.served.source is None:
            raise AssertionError("no model resizes anything")
        rows, columns = self.trained.matrices(*self.served.source)
        planes = self._in_trained_order(served).transpose(0, 3, 1, 2).astype(np.float64)
        planes = (rows @ (planes @ columns.T).clip(0, 255)).clip(0, 255)
        mean, std = (np.array(values).reshape(-1, 1, 1) for values in (self.trained.mean, self.trained.std))
        return ((planes / 255 - mean) / std).astype(np.float32)

    def _in_trained_order(self, served: NDArray[np.uint8]) -> NDArray[np.uint8]:
        same = self.trained is None or self.served is None or self.trained.color == self.served.color
        return served if same else served[:, :, :, ::-1]

    def batches(self, samples: Split, size: int) -> Iterator[tuple[NDArray[np.float32], NDArray[Any]]]:
        """The same in batches of at most `size`, one in memory at a time."""
        for start in range(0, len(samples), size):
            yield self.both(samples.take(range(start, min(start + size, len(samples)))))


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else np.ascontiguousarray(frame))
