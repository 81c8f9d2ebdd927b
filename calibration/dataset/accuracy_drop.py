"""What a candidate changes in the float model's answers to some inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.bundle.accuracy import Accuracy, paired_accuracy
from ...runtime.bundle.parity import TOLERANCES, Parity, compare, compare_outputs
from ...runtime.errors import ModelError, TaskError
from ...runtime.session.session import Session
from ...runtime.tasks.base import Measure, Outputs, Task
from ...runtime.tasks.outputs import OutputSpec, Part, specs_of, whole
from ..normalize.logits import LOGITS, showing_logits
from ..onnx_graph.shapes import input_of
from ..progress import Progress
from .calibration_set import CalibrationSet
from .user_metric import agreement_of

BATCH = 2
NONE_HELD_BACK = np.empty(0, np.int64)


@dataclass(frozen=True)
class Judged:
    """What was measured of a candidate.

    Attributes:
        parity: the error of all its outputs.
        accuracy: what it costs.
        held_back_db: signal over error, in dB, of the inputs that are held back, as `OutputSqnr.sqnr_db` has
            it; None where there is no error, or no such input.
    """

    parity: Parity
    accuracy: Accuracy
    held_back_db: float | None = None


class AccuracyDrop:
    """Holds the float model's answers, and compares others with them.

    The error of a model that ends in a Softmax or Sigmoid is that of the logits before it; its answers are
    read from what it puts out.

    Args:
        model: the float32 model.
        samples: the inputs that judge.
        task: what the answers mean.
        truths: the truth of each input, in coordinates of the model's input; None where it is not known:
            every answer that changes then counts as lost, so the drop is never more.
        held_back: positions of the inputs that no weight of a candidate is fitted to.

    Attributes:
        outputs: what the float model puts out, by name, each of shape (N, ...).

    Raises:
        ModelError: an output has no batch axis.
        TaskError: the outputs do not fit the task, or hold nothing that could be judged.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        samples: CalibrationSet,
        task: Task,
        truths: Sequence[Any] | None = None,
        held_back: NDArray[np.int64] = NONE_HELD_BACK,
    ) -> None:
        self._samples = samples
        self._task = task
        self._held_back = held_back
        labelled = None if truths is None else task.metric
        self._decode = task.decode if labelled is None else task.for_metric().decode
        found = _answers(model, samples)
        self.outputs: Outputs = found.outputs
        self._errors = found.errors
        self._specs: tuple[OutputSpec, ...] = specs_of(found.outputs)
        task.require_fit(self._specs, ())
        right = self._decode(found.outputs)
        self._measure: Measure = labelled or agreement_of(task)
        self._wanted: Sequence[Any] = right if labelled is None or truths is None else truths
        self._reference = self._counts(right)
        if self._measure.value(self._reference) is None:
            raise TaskError(
                f"{self._measure.name} cannot be judged on these {len(samples)} inputs.",
                wanted="inputs in which the model finds something",
                got="answers that hold nothing to compare",
                todo="give other inputs, or another task with --task",
            )

    def measure(self, candidate: onnx.ModelProto, samples: CalibrationSet | None = None) -> Judged:
        """Parity of all outputs, and what the candidate costs in the task's metric, in percentage points.

        Args:
            candidate: the other model.
            samples: the same inputs as the candidate takes them, where that is another form.
        """
        found = _answers(candidate, samples or self._samples)
        counts = self._counts(self._decode(found.outputs))
        accuracy = paired_accuracy(self._measure, self._reference, counts)
        parity = compare_outputs(
            self.outputs,
            found.outputs,
            TOLERANCES["int8"],
            self._task,
            self._specs,
            logits=(self._errors, found.errors),
        )
        return Judged(parity, accuracy, self._held_back_db(found.errors) if len(self._held_back) else None)

    def _held_back_db(self, found: Outputs) -> float | None:
        wanted = {name: values[self._held_back] for name, values in self._errors.items()}
        parts = judged_parts(self._specs, self._task, wanted)
        return sqnr_db(parts, wanted, {name: values[self._held_back] for name, values in found.items()})

    def _counts(self, answers: Sequence[Any]) -> list[Any]:
        return [self._measure.count(*pair) for pair in zip(self._wanted, answers, strict=True)]


class OutputSqnr:
    """The error of a model's outputs against the float model's, whatever they mean.

    Args:
        model: the float32 model.
        samples: the inputs that judge.
        task: tells which parts of the outputs are judged apart; None for each output as a whole.
    """

    def __init__(self, model: onnx.ModelProto, samples: CalibrationSet, task: Task | None = None) -> None:
        self._samples = samples
        answers = _answers(model, samples)
        self._parts = judged_parts(specs_of(answers.outputs), task, answers.errors)
        self._reference = answers.errors

    def sqnr_db(self, candidate: onnx.ModelProto) -> float | None:
        """Signal over error in dB, of all parts together; None where there is no error, -inf for NaN."""
        return sqnr_db(self._parts, self._reference, _answers(candidate, self._samples).errors)


def judged_parts(specs: Sequence[OutputSpec], task: Task | None, outputs: Outputs) -> list[Part]:
    """The parts of float outputs that are judged apart; each output as a whole where no task tells."""
    parts = task.parts(specs) if task else tuple(whole(spec.name) for spec in specs)
    return [part for part in parts if outputs[part.output].dtype.kind == "f"]


def sqnr_db(parts: Sequence[Part], reference: Outputs, found: Outputs) -> float | None:
    """Signal over error in dB, of all parts together; None where there is no error, -inf for NaN."""
    pairs = [(part.of(reference), part.of(found)) for part in parts]
    errors = [compare(wanted, got, TOLERANCES["int8"]).relative_l2 for wanted, got in pairs]
    if any(error is None for error in errors):
        return -np.inf
    power = sum(error**2 for error in errors if error is not None) / max(1, len(errors))
    return -10 * float(np.log10(power)) if power else None


@dataclass(frozen=True)
class _Answers:
    """What a model puts out, and where its error is measured: the same, or the logits under its name."""

    outputs: Outputs
    errors: Outputs


def _answers(model: onnx.ModelProto, samples: CalibrationSet) -> _Answers:
    shown = showing_logits(model)
    found: dict[str, list[NDArray[Any]]] = {}
    with Session(shown.SerializeToString()) as session:
        for batch in samples.full_batches(batch_of(model)):
            for name, values in session.run(batch).items():
                _require_batch(name, values.shape, len(batch))
                found.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values)[: len(samples)] for name, values in found.items()}
    outputs = {name: values for name, values in joined.items() if name != LOGITS}
    if shown is model:
        return _Answers(outputs, outputs)
    (name,) = outputs
    return _Answers(outputs, {name: joined[LOGITS]})


def _require_batch(name: str, shape: tuple[int, ...], batch: int) -> None:
    if len(shape) < 1 or shape[0] != batch:
        raise ModelError(
            f"The model's output {name!r} does not have a row for each input.",
            wanted=f"shape ({batch}, ...) for a batch of {batch}",
            got=f"shape {shape}",
            todo="export the model without what it does over the whole batch",
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
