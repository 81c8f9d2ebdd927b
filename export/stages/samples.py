"""The samples of an export: those that calibrate, those that are compared, and PyTorch's answers to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...calibration.dataset.calibration_set import CalibrationSet
from ...runtime.errors import ModelError
from ...runtime.files import sha256_bytes
from ..data.dataset import Split, seeded_subset
from .golden_pictures import GoldenPicture, most_confident, record_pictures
from .source import ExportSource
from .torch_onnx import OUTPUT, torch_answers

PARITY_SAMPLES = 32


@dataclass(frozen=True)
class ExportSamples:
    """What the stages are shown.

    Attributes:
        calibration: the inputs that calibrate.
        labels: the class of each of them, shape (N,), for the budget alone.
        inputs: evaluation samples as PyTorch takes them, shape (N, ...), float32.
        served: the same samples as the shipped models take them, shape (N, ...).
        outputs: PyTorch's answers to `inputs` by output name, each of shape (N, ...).
        pictures: a few of the samples, encoded; none where the data set holds tensors.
    """

    calibration: CalibrationSet
    labels: NDArray[np.int64]
    inputs: NDArray[np.float32]
    served: NDArray[Any]
    outputs: Mapping[str, NDArray[np.float32]]
    pictures: tuple[GoldenPicture, ...]


def prepare_samples(source: ExportSource) -> ExportSamples:
    """Prepare the samples, and ask PyTorch.

    Raises:
        ModelError: the network's first output is not one score a class.
        DataError: a sample cannot be read.
    """
    evaluation = source.data.evaluation
    compared = evaluation.take(seeded_subset(len(evaluation), PARITY_SAMPLES))
    inputs, served = source.feed.both(compared)
    outputs = torch_answers(source.network, inputs)
    _check_classes(outputs[OUTPUT], source)
    return ExportSamples(
        calibration=_calibration(source),
        labels=source.data.calibration.labels,
        inputs=inputs,
        served=served,
        outputs=outputs,
        pictures=_pictures(source, compared, outputs[OUTPUT]),
    )


def _calibration(source: ExportSource) -> CalibrationSet:
    inputs = source.data.calibration.tensor(source.feed.trained)
    return CalibrationSet(lambda positions: inputs[positions], len(inputs), sha256_bytes(inputs.tobytes()))


def _pictures(source: ExportSource, split: Split, scores: NDArray[np.floating]) -> tuple[GoldenPicture, ...]:
    """A few of the split's pictures as `verify` reads them; none where it holds tensors."""
    feed = source.feed
    if feed.served is None:
        return ()
    samples = [split.load(position) for position in most_confident(scores)]
    images = [sample for sample in samples if isinstance(sample, Image.Image)]

    def answers(served: NDArray[Any]) -> NDArray[np.floating]:
        return torch_answers(source.network, feed.trained_inputs(served))[OUTPUT]

    return record_pictures(images, feed.served, answers, source.labels)


def _check_classes(scores: NDArray[Any], source: ExportSource) -> None:
    classes = len(source.data.labels)
    if scores.ndim != 2 or scores.shape[1] != classes:
        raise ModelError(
            f"The model's output does not fit the data set {source.data.name}.",
            wanted=f"shape (N, {classes}), one score a class",
            got=f"shape {('N', *scores.shape[1:])}",
            todo="give the data set that the model was trained on with --data, or a class_index.json that "
            "names all of the model's classes",
        )
