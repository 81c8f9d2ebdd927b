"""A data set of arrays that the caller has in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError
from .dataset import SMALL_SIDE, Dataset, Split, in_memory

LabelledArrays = tuple[NDArray[Any], NDArray[np.integer]]
MIN_SAMPLES = 2


def array_dataset(
    *, evaluation: LabelledArrays, calibration: LabelledArrays, classes: Sequence[str], name: str = "arrays"
) -> Dataset:
    """Make a data set of samples and the class index of each.

    Samples are either tensors as the network takes them: float32, shape (N, channels, height, width) or any
    other with the sample axis first. Or they are pictures: uint8, shape (N, height, width) for grey or (N,
    height, width, 3) for red, green and blue; `ExportRequest.preprocess` then says how the network's inputs
    are made of them. Labels are integers, shape (N,). Nothing is copied.

    Args:
        evaluation: samples and labels on which the models are compared and accuracy is measured.
        calibration: other samples and labels, from which the ranges of values are taken. They should be like
            those that the model will see; a hundred are usually enough.
        classes: the name of each class, in the order of the network's outputs.
        name: recorded in the bundle.

    Raises:
        DataError: a part has fewer than 2 samples, another shape or dtype, NaN or Inf, or labels that do not
            fit; or the two parts hold different kinds of samples.
    """
    parts = {"evaluation": evaluation, "calibration": calibration}
    for part, (samples, labels) in parts.items():
        _check_samples(part, samples)
        _check_labels(part, labels, len(samples), len(classes))
    evaluated, calibrating = evaluation[0], calibration[0]
    pictures = evaluated.dtype == np.uint8
    sides = evaluated.shape[1:3] if pictures else evaluated.shape[2:]
    if evaluated.dtype != calibrating.dtype or (
        not pictures and evaluated.shape[1:] != calibrating.shape[1:]
    ):
        raise DataError(
            "The samples for evaluation and for calibration are not alike.",
            wanted="the same dtype, and the same shape of a sample",
            got=f"{_kind(evaluated)} and {_kind(calibrating)}",
        )
    return Dataset(
        name=name,
        labels=tuple(classes),
        train=None,
        calibration=_split(*calibration),
        evaluation=_split(*evaluation),
        small=max(sides, default=SMALL_SIDE + 1) <= SMALL_SIDE,
        preprocess=lambda shape: None,
        tensor_shape=None if pictures else evaluated.shape[1:],
    )


def _split(samples: NDArray[Any], labels: NDArray[np.integer]) -> Split:
    if samples.dtype == np.uint8:
        return in_memory(samples, labels)
    return Split(lambda position: samples[position], labels.astype(np.int64))


def _check_samples(part: str, samples: NDArray[Any]) -> None:
    array = isinstance(samples, np.ndarray)
    picture = array and samples.dtype == np.uint8 and (samples.ndim == 3 or samples.shape[3:] == (3,))
    tensor = array and samples.dtype == np.float32 and samples.ndim >= 2
    if not (picture or tensor):
        raise DataError(
            f"The samples for {part} are neither tensors nor pictures.",
            wanted="float32 of shape (N, channels, height, width), or uint8 of shape (N, height, width) or "
            "(N, height, width, 3)",
            got=_kind(samples) if array else type(samples).__name__,
        )
    if len(samples) < MIN_SAMPLES or not samples.size:
        raise DataError(
            f"There are too few samples for {part}.", wanted=f"at least {MIN_SAMPLES}", got=_kind(samples)
        )
    if tensor and not np.isfinite(samples).all():
        raise DataError(f"The samples for {part} hold NaN or Inf.", todo="look at their preprocessing")


def _check_labels(part: str, labels: NDArray[np.integer], count: int, classes: int) -> None:
    array = isinstance(labels, np.ndarray)
    if not array or labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"The labels for {part} do not fit the samples.",
            wanted=f"integers of shape ({count},)",
            got=_kind(labels) if array else type(labels).__name__,
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"The labels for {part} are out of range.",
            wanted=f"0 to {classes - 1}, for {classes} classes",
            got=f"{labels.min()} to {labels.max()}",
        )


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"
