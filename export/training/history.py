"""The history of a training: what was asked for, what each epoch gave, and the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import OutputError
from ...runtime.files import publish_file
from ...runtime.records import decode, encode


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes:
        epoch: from 1.
        loss: mean training loss of the main output while the epoch went on.
        held_out_loss, score: loss and the task's metric, in percent, on held-out samples after the epoch;
            reported only, nothing is chosen by them.
        held_out: how many these samples are.
        rate: learning rate of the last step.
        seconds: wall time of the epoch, its evaluation included.
    """

    epoch: int
    loss: float
    held_out_loss: float
    score: float
    held_out: int
    rate: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """The result of a training.

    Attributes:
        metric: name of the task's metric, such as top-1.
        score, loss: that metric in percent, and the loss, on all `held_out` samples.
        seconds: of all epochs.
        sha256: of the file of weights.
        made_with: version of torch and the device.
    """

    metric: str
    score: float
    loss: float
    held_out: int
    seconds: float
    sha256: str
    made_with: str


@dataclass(frozen=True)
class History:
    """A finished training.

    Attributes:
        settings: all that the weights depend on (see fingerprint.py).
        epochs: in order.
        result: of the last of them.
    """

    settings: Mapping[str, Any]
    epochs: tuple[Epoch, ...]
    result: Result

    def write(self, path: Path) -> None:
        """Publish as JSON."""
        with publish_file(path) as draft:
            draft.write_text(json.dumps(encode(self), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_history(path: Path) -> History:
    """Read what `History.write` wrote.

    Raises:
        OutputError: it is something else, hence not to be replaced.
    """
    try:
        return decode(History, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} is not the history of a training; it is left as it is.",
            got=str(error),
            todo="give another place with --out DIR",
        ) from error
