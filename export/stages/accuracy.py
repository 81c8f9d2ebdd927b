"""The task's metric for all precisions on the same samples, in one pass and constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...calibration.dataset.user_metric import agreement_of
from ...calibration.progress import Progress
from ...runtime.bundle.accuracy import Accuracy, paired_accuracy
from ...runtime.errors import TaskError
from ...runtime.session.session import Session, run_batched
from ...runtime.tasks.base import Measure
from ..data.dataset import Split, seeded_subset
from .parity import PrecisionResult
from .source import ExportSource

BATCH = 32


@dataclass(frozen=True)
class SampleDigest:
    """Samples that a model was shown: how many, and the SHA-256 of their preprocessed values."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """Accuracy by precision, against the origin on the same samples.

    Attributes:
        accuracy: of each precision.
        digest: which samples these were.
        chance: the metric of a model that always gives the commonest truth, in percent; None where that
            means nothing.
    """

    accuracy: Mapping[str, Accuracy]
    digest: SampleDigest
    chance: float | None = None


def evaluate(
    source: ExportSource, results: Mapping[str, PrecisionResult], max_samples: int, progress: Progress
) -> Evaluation:
    """Show the evaluation samples, at most `max_samples`, to the origin and to each precision's model.

    A task that knows no truth is judged by how far the answers are the origin's.

    Raises:
        TaskError: no sample has anything to judge.
    """
    split = _at_most(source.data.evaluation, max_samples, progress)
    labelled = source.task.metric is not None
    task = source.task.for_metric() if labelled else source.task
    measure: Measure = source.task.metric or agreement_of(source.task)
    digest, done = hashlib.sha256(), 0
    expected: list[Any] = []
    found: dict[str, list[Any]] = {name: [] for name in results}
    sessions = {name: Session(result.artifact.data) for name, result in results.items()}
    batches = source.feed.batches(split, BATCH)
    for inputs, served in progress.track(batches, -(-len(split) // BATCH), "evaluating"):
        digest.update(inputs.tobytes())
        right = task.decode(source.origin.answers(inputs))
        wanted = right
        if labelled:
            trained = source.feed.trained
            wanted = [split.truth_in_input(done + i, task, trained, answer) for i, answer in enumerate(right)]
        expected += map(measure.count, wanted, right)
        for name, session in sessions.items():
            answers = task.decode(run_batched(session, served, session.fixed_batch or BATCH))
            found[name] += map(measure.count, wanted, answers)
        done += len(inputs)
    return Evaluation(
        {name: _paired(measure, expected, counts) for name, counts in found.items()},
        SampleDigest(len(split), digest.hexdigest()),
        task.chance(split.labels) if labelled else None,
    )


def _paired(measure: Measure, expected: list[Any], counts: list[Any]) -> Accuracy:
    try:
        return paired_accuracy(measure, expected, counts)
    except ValueError as error:
        raise TaskError(
            f"{measure.name} cannot be judged on these {len(counts)} samples.",
            wanted="samples with something to find",
            todo="give other data with --data",
        ) from error


def _at_most(evaluation: Split, count: int, progress: Progress) -> Split:
    if len(evaluation) <= count:
        return evaluation
    progress.note(
        f"accuracy is measured on {count} of {len(evaluation)} pictures, chosen by seed "
        "(--evaluation N changes that)"
    )
    return evaluation.take(seeded_subset(len(evaluation), count))
