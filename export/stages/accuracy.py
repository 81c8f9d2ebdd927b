"""Top-1 accuracy of all precisions on the same pictures, in one pass and constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...calibration.artifact import OnnxArtifact
from ...calibration.progress import Progress
from ...runtime.bundle.accuracy import Accuracy, paired_accuracy
from ...runtime.session.session import Session
from ..data.dataset import Split
from ..training.trainer import predict
from .feed import Feed
from .torch_onnx import OUTPUT

BATCH = 32


@dataclass(frozen=True)
class Shown:
    """Pictures that were shown to a model: how many, and the SHA-256 of their preprocessed values."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """Accuracy by precision, against PyTorch on the same pictures, and what was shown."""

    accuracy: Mapping[str, Accuracy]
    shown: Shown


def evaluate(
    network: nn.Module,
    artifacts: Mapping[str, OnnxArtifact],
    data: Split,
    feed: Feed,
    progress: Progress,
) -> Evaluation:
    """Show every picture to PyTorch and to each artifact."""
    digest = hashlib.sha256()
    expected: list[NDArray[Any]] = []
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in artifacts}
    sessions = {name: Session(artifact.data) for name, artifact in artifacts.items()}
    batches = feed.batches(data, BATCH)
    for inputs, shown in progress.track(batches, -(-len(data) // BATCH), "evaluating"):
        digest.update(inputs.tobytes())
        expected.append(predict(network, inputs))
        for name, session in sessions.items():
            found[name].append(session.run(shown)[OUTPUT])
    reference = np.concatenate(expected)
    accuracy = {
        name: paired_accuracy(data.labels, reference, np.concatenate(pieces))
        for name, pieces in found.items()
    }
    return Evaluation(accuracy, Shown(len(data), digest.hexdigest()))
