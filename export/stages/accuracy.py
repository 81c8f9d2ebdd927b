"""Top-1 accuracy of all precisions on the same samples, in one pass and constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.progress import Progress
from ...runtime.bundle.accuracy import Accuracy, paired_accuracy
from ...runtime.session.session import Session
from ..data.dataset import Split, seeded_subset
from ..training.trainer import predict
from .parity import PrecisionResult
from .source import ExportSource
from .torch_onnx import OUTPUT

BATCH = 32


@dataclass(frozen=True)
class SampleDigest:
    """Samples that a model was shown: how many, and the SHA-256 of their preprocessed values."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """Accuracy by precision, against PyTorch on the same samples, and which these were."""

    accuracy: Mapping[str, Accuracy]
    digest: SampleDigest


def evaluate(
    source: ExportSource, results: Mapping[str, PrecisionResult], max_samples: int, progress: Progress
) -> Evaluation:
    """Show the evaluation samples, at most `max_samples`, to PyTorch and to each precision's model."""
    split = _at_most(source.data.evaluation, max_samples, progress)
    digest = hashlib.sha256()
    expected: list[NDArray[Any]] = []
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in results}
    sessions = {name: Session(result.artifact.data) for name, result in results.items()}
    batches = source.feed.batches(split, BATCH)
    for inputs, served in progress.track(batches, -(-len(split) // BATCH), "evaluating"):
        digest.update(inputs.tobytes())
        expected.append(predict(source.network, inputs))
        for name, session in sessions.items():
            found[name].append(session.run(served)[OUTPUT])
    reference = np.concatenate(expected)
    accuracy = {
        name: paired_accuracy(split.labels, reference, np.concatenate(answers))
        for name, answers in found.items()
    }
    return Evaluation(accuracy, SampleDigest(len(split), digest.hexdigest()))


def _at_most(evaluation: Split, count: int, progress: Progress) -> Split:
    if len(evaluation) <= count:
        return evaluation
    progress.note(
        f"accuracy is measured on {count} of {len(evaluation)} pictures, chosen by seed "
        "(--evaluation N changes that)"
    )
    return evaluation.take(seeded_subset(len(evaluation), count))
