"""What a candidate changes in the float model's answers to the calibration inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.bundle.parity import TOLERANCES, Parity, compare
from ...runtime.errors import ModelError
from ...runtime.session.session import Session
from ..normalize.logits import without_final_activation
from ..onnx_graph.shapes import input_of
from ..progress import Progress
from .calibration_set import CalibrationSet

BATCH = 2


class AccuracyDrop:
    """Holds the float model's answers, and compares others with them.

    A model that ends in a Softmax or Sigmoid is measured by the logits before it.

    Args:
        model: the float32 model.
        samples: the inputs that judge.
        labels: class of each input, shape (N,); None where it is not known.

    Raises:
        ModelError: the model's first output is not of shape (N, classes, ...).
    """

    def __init__(
        self, model: onnx.ModelProto, samples: CalibrationSet, labels: NDArray[np.integer] | None = None
    ) -> None:
        self._samples = samples
        self._labels = labels
        self._right = self._answers(model, samples)

    def measure(
        self, candidate: onnx.ModelProto, samples: CalibrationSet | None = None
    ) -> tuple[Parity, float]:
        """Parity of the first output, and points of top-1 that are lost on balance.

        Without labels every changed answer counts as lost, in percent: the drop is never more.

        Args:
            candidate: the other model.
            samples: the same inputs as the candidate takes them, where that is another form.
        """
        answers = self._answers(candidate, samples or self._samples)
        return compare(self._right, answers, TOLERANCES["int8"]), self._drop(answers)

    def _answers(self, model: onnx.ModelProto, samples: CalibrationSet) -> NDArray[Any]:
        with Session(without_final_activation(model).SerializeToString()) as session:
            name = session.output_names[0]
            found = []
            for batch in samples.full_batches(batch_of(model)):
                found.append(session.run(batch)[name])
                _require_scores(name, found[-1].shape, len(batch))
        return np.concatenate(found)[: len(samples)]

    def _drop(self, answers: NDArray[Any]) -> float:
        was, now = self._right.argmax(axis=1), answers.argmax(axis=1)
        if self._labels is None:
            return 100 * float((was != now).mean())
        return 100 * float((was == self._labels).mean() - (now == self._labels).mean())


def _require_scores(name: str, shape: tuple[int, ...], batch: int) -> None:
    if len(shape) < 2 or shape[0] != batch:
        raise ModelError(
            f"The model's first output, {name!r}, does not hold scores.",
            wanted=f"shape ({batch}, classes) for a batch of {batch}",
            got=f"shape {shape}",
            todo="let the model put out the scores of its classes first",
        )


def batch_of(model: onnx.ModelProto) -> int:
    """How many inputs are shown at once: the model's own batch where it is fixed."""
    first = input_of(model).shape[0]
    return first if isinstance(first, int) else BATCH


def batches(
    model: onnx.ModelProto, samples: CalibrationSet, progress: Progress, title: str
) -> Iterable[NDArray[Any]]:
    """The calibration inputs in batches that the model takes, with progress."""
    size = batch_of(model)
    return progress.track(samples.full_batches(size), -(-len(samples) // size), title)
