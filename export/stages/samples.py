"""The samples of an export: those that calibrate, those that are compared, and the answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...calibration.dataset.calibration_set import CalibrationSet
from ...runtime.files import sha256_bytes
from ...runtime.tasks.outputs import specs_of
from ..data.dataset import Split, seeded_subset
from .golden_pictures import PICTURES, GoldenPicture, most_confident, record_pictures
from .source import ExportSource

PARITY_SAMPLES = 32


@dataclass(frozen=True)
class ExportSamples:
    """What the stages are shown.

    Attributes:
        calibration: the inputs that calibrate.
        truths: the truth of each of them, in coordinates of the model's input, for the budget alone.
        inputs: evaluation samples as the origin takes them, shape (N, ...), float32.
        served: the same samples as the shipped models take them, shape (N, ...).
        outputs: the origin's answers to `inputs` by output name, each of shape (N, ...).
        pictures: a few of the samples, encoded; none where the data set holds tensors.
    """

    calibration: CalibrationSet
    truths: Sequence[Any]
    inputs: NDArray[np.float32]
    served: NDArray[Any]
    outputs: Mapping[str, NDArray[Any]]
    pictures: tuple[GoldenPicture, ...]


def prepare_samples(source: ExportSource) -> ExportSamples:
    """Prepare the samples, and ask the origin.

    Raises:
        TaskError: its outputs do not fit the task, or the data set's classes.
        DataError: a sample cannot be read.
    """
    evaluation = source.data.evaluation
    compared = evaluation.take(seeded_subset(len(evaluation), PARITY_SAMPLES))
    inputs, served = source.feed.both(compared)
    outputs = source.origin.answers(inputs)
    source.task.require_fit(specs_of(outputs), source.labels)
    return ExportSamples(
        calibration=_calibration(source),
        truths=_truths(source, outputs),
        inputs=inputs,
        served=served,
        outputs=outputs,
        pictures=_pictures(source, compared, outputs),
    )


def _calibration(source: ExportSource) -> CalibrationSet:
    inputs = source.data.calibration.tensor(source.feed.trained)
    return CalibrationSet(lambda positions: inputs[positions], len(inputs), sha256_bytes(inputs.tobytes()))


def _truths(source: ExportSource, outputs: Mapping[str, NDArray[Any]]) -> list[Any]:
    """Those of the calibration samples; an answer to any sample tells the size of a map."""
    split = source.data.calibration
    answer = source.task.decode({name: values[:1] for name, values in outputs.items()})[0]
    place = partial(split.truth_in_input, task=source.task, preprocess=source.feed.trained, answer=answer)
    return [place(position) for position in range(len(split))]


def _pictures(
    source: ExportSource, split: Split, outputs: Mapping[str, NDArray[Any]]
) -> tuple[GoldenPicture, ...]:
    """A few of the split's pictures as `verify` reads them; none where it holds tensors."""
    feed, task = source.feed, source.task
    if feed.served is None:
        return ()
    ranks = task.ranks(specs_of(outputs)) and bool(source.labels)
    scores = next(iter(outputs.values()))
    chosen = most_confident(scores) if ranks else range(min(PICTURES, len(split)))
    images = [sample for sample in map(split.load, chosen) if isinstance(sample, Image.Image)]

    def labels_of(served: NDArray[Any]) -> list[str]:
        if not ranks:
            return [""] * len(served)
        answers = task.decode(source.origin.answers(feed.trained_inputs(served)))
        return [source.labels[int(answer.argmax())] for answer in answers]

    return record_pictures(images, feed.served, labels_of)
