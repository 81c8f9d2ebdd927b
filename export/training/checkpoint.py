"""Checkpoints: the state of an unfinished training, in one file that is written whole or not at all.

The file is torch's, loaded with weights_only=True: nothing in it is run. Its key `model` makes it a file
that `edgeproof export --weights` takes, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...runtime.errors import WeightsError, gist
from ...runtime.files import publish_file
from ...runtime.records import decode, encode
from .history import Epoch
from .trainer import Trainer


@dataclass(frozen=True)
class Record:
    """What a checkpoint says beside the state.

    Attributes:
        settings: all that the weights depend on (see fingerprint.py).
        epochs: those that are done.
    """

    settings: Mapping[str, Any]
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: its record, the state of its trainer, and its file."""

    record: Record
    state: Mapping[str, Any]
    path: Path

    def resume(self, trainer: Trainer) -> None:
        """Bring a trainer to the state of the checkpoint.

        Raises:
            WeightsError: the state does not fit.
        """
        try:
            trainer.restore(self.state)
        except Exception as error:  # a state that was tampered with fails in many ways
            raise _damaged(self.path, error) from error


def save_checkpoint(path: Path, record: Record, trainer: Trainer) -> None:
    """Publish the state of a trainer."""
    with publish_file(path) as draft:
        torch.save({"record": json.dumps(encode(record), allow_nan=False), **trainer.state()}, draft)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running anything that is in the file.

    Raises:
        WeightsError: damaged, hostile, or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(decode(Record, json.loads(state["record"])), state, path)
    except Exception as error:  # a damaged archive fails in many ways, none of them documented
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path} is not a checkpoint that a training can go on from.",
        got=gist(error),
        todo="add --fresh to start anew in its place, or give another place with --out DIR",
    )
