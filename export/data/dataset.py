"""Labelled samples, pictures or tensors, in three parts that never overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError
from ...runtime.tasks.base import Task
from ..models.spec import InputShape

CALIBRATION_SAMPLES = 128
SMALL_SIDE = 64  # pictures up to this many pixels a side count as small
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class Truths:
    """The truth of each sample, read when it is asked for.

    Args:
        count: of the samples.
        read: gives the truth at a position: `Boxes` in pixels of the picture, or the class of each pixel,
            uint8, shape (height, width), in which 255 is not judged.
    """

    def __init__(self, count: int, read: Callable[[int], Any]) -> None:
        self._count = count
        self._read = read

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return map(self._read, range(self._count))

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, np.ndarray):
            chosen = position
            return Truths(len(chosen), lambda i: self._read(int(chosen[i])))
        if not 0 <= position < self._count:  # else a loop over the truths would not end
            raise IndexError(f"there is no truth {position} of {self._count}")
        return self._read(int(position))


@dataclass(frozen=True)
class Split:
    """Samples, read when they are asked for, with the truth of each.

    Attributes:
        load: gives the sample at a position: a picture, or a float32 tensor that is fed as it is.
        labels: class index of each sample, shape (N,), int64; or the truths of another task.
    """

    load: Callable[[int], Image.Image | NDArray[np.float32]]
    labels: NDArray[np.int64] | Truths

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: Sequence[int] | NDArray[np.integer]) -> Split:
        """The samples at these positions, as a split of their own."""
        chosen = np.asarray(positions, dtype=np.int64)
        return Split(lambda i: self.load(int(chosen[i])), self.labels[chosen])

    def truth_in_input(self, position: int, task: Task, preprocess: Preprocess | None, answer: Any) -> Any:
        """The truth of a sample in coordinates of the model's input.

        Args:
            position: of the sample.
            task: of which it is the truth.
            preprocess: says how the sample's picture becomes that input; None for tensors.
            answer: a model's to it, as the task decodes it.

        Raises:
            DataError: the sample is a tensor, in which a truth has no place.
        """
        truth = self.labels[position]
        if preprocess is None or task.places_nothing:
            return truth
        sample = self.load(position)
        if not isinstance(sample, Image.Image):
            raise DataError("A tensor has no place for boxes or masks.", todo="give a data set of pictures")
        return task.truth_in_input(truth, preprocess.geometry(*sample.size), answer)

    def tensor(self, preprocess: Preprocess | None) -> NDArray[Any]:
        """All samples as a model takes them, shape (N, ...); tensors pass as they are."""
        return np.stack([_prepared(self.load(i), preprocess) for i in range(len(self))])

    def batches(self, preprocess: Preprocess | None, size: int) -> Iterator[NDArray[Any]]:
        """The same in batches of at most `size`, one in memory at a time."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self)))).tensor(preprocess)


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: as it is recorded in a bundle.
        labels: name of each class.
        train: samples to train on; None where the set has no part for it.
        calibration: samples from which the ranges of values are taken, and on which INT8 models are compared
            while they are made. Part of `train` where there is one.
        evaluation: samples on which models are compared and measured; disjoint from the other two.
        small: whether the pictures are at most SMALL_SIDE pixels a side.
        preprocess: from an input shape (channels, height, width) to how its pictures are prepared,
            where the weights do not say; to None for tensors.
        tensor_shape: shape of each sample of a set of tensors; None for a set of pictures.
        task: of which the labels are the truth.
    """

    name: str
    labels: tuple[str, ...]
    train: Split | None
    calibration: Split
    evaluation: Split
    small: bool
    preprocess: Callable[[InputShape], Preprocess | None]
    tensor_shape: InputShape | None = None
    task: str = "classification"


def _prepared(sample: Image.Image | NDArray[np.float32], preprocess: Preprocess | None) -> NDArray[Any]:
    if isinstance(sample, np.ndarray):
        return sample
    if preprocess is None:
        raise DataError("Pictures cannot be given to a network without preprocessing.")
    return preprocess(sample)


def in_memory(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> Split:
    """A split of pictures that lie in memory, shape (N, height, width), or (N, height, width, 3) for RGB."""
    return Split(lambda i: Image.fromarray(images[i]), labels.astype(np.int64))


def seeded_subset(count: int, size: int) -> NDArray[np.int64]:
    """The same `size` of `count` positions each time, in rising order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:size])


def small_gray_preprocess(shape: InputShape, mean: float = 0.5, std: float = 0.5) -> Preprocess:
    """For small grey pictures: stretch to the input, repeat grey where three channels are asked.

    The values lie in -1..1 unless another mean and std are given.
    """
    channels = shape[0]
    return Preprocess(
        resize=(shape[1], shape[2]),
        crop=None,
        mean=(mean,) * channels,
        std=(std,) * channels,
        color="gray" if channels == 1 else "rgb",
    )


def small_color_preprocess(shape: InputShape) -> Preprocess:
    """For small colour pictures: stretch to the input, CIFAR-10's mean and std; one channel: grey, -1..1."""
    if shape[0] == 1:
        return small_gray_preprocess(shape)
    return Preprocess(resize=(shape[1], shape[2]), crop=None, mean=CIFAR10_MEAN, std=CIFAR10_STD)


def photograph_stretched(shape: InputShape) -> Preprocess:
    """For pictures whose truths have a place: stretched to the input whole; ImageNet's mean and std."""
    usual = photograph_preprocess(shape)
    return replace(usual, resize=(shape[1], shape[2]), crop=None)


def photograph_preprocess(shape: InputShape) -> Preprocess:
    """ImageNet's usual: shorter side to 256/224 of the input, centre crop, ImageNet's mean and std."""
    if shape[0] == 1:
        mean, std = (0.5,), (0.5,)
    else:
        mean, std = IMAGENET_MEAN, IMAGENET_STD
    return Preprocess(
        resize=round(max(shape[1:]) * 256 / 224),
        crop=(shape[1], shape[2]),
        mean=mean,
        std=std,
        color="gray" if shape[0] == 1 else "rgb",
    )
