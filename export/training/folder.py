"""The folder of a training: what lies in it already, and what is written into it at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ...runtime.errors import OutputError, WeightsError
from ...runtime.files import publish_file, sha256_file
from .checkpoint import Checkpoint, load_checkpoint
from .curves import draw_curves
from .fingerprint import require_same
from .history import History, read_history

WEIGHTS, HISTORY, CURVES, CHECKPOINT = "weights.safetensors", "history.json", "curves.png", "checkpoint.pt"


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come: not begun (both None), to a checkpoint, or finished."""

    checkpoint: Checkpoint | None = None
    finished: History | None = None


def read_state(folder: Path, settings: Mapping[str, Any], *, fresh: bool) -> TrainingState:
    """How far the training of these settings has come in a folder; with `fresh` it has not begun.

    Raises:
        OutputError: the folder holds files of these names that no training wrote.
        WeightsError: it holds a training of other settings, or what was written was changed since.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is not a folder.", todo="give another place with --out DIR")
    history = read_history(folder / HISTORY) if (folder / HISTORY).exists() else None
    strangers = [name for name in (WEIGHTS, CURVES) if (folder / name).exists()]
    if strangers and not history and not (folder / CHECKPOINT).exists():
        raise OutputError(
            f"{folder} holds {' and '.join(strangers)} that no training wrote; it is left as it is.",
            todo="give another place with --out DIR",
        )
    if fresh:
        return TrainingState()
    if (folder / CHECKPOINT).exists():
        checkpoint = load_checkpoint(folder / CHECKPOINT)
        require_same(settings, checkpoint.record.settings, folder / CHECKPOINT)
        return TrainingState(checkpoint=checkpoint)
    if history is None or not (folder / WEIGHTS).exists():
        return TrainingState()
    require_same(settings, history.settings, folder / HISTORY)
    if sha256_file(folder / WEIGHTS) != history.result.sha256:
        raise WeightsError(
            f"{folder / WEIGHTS} was changed since it was trained.",
            wanted=f"SHA-256 {history.result.sha256[:16]}..., as in {HISTORY}",
            todo="add --fresh to train anew in its place, or give another place with --out DIR",
        )
    return TrainingState(finished=history)


def open_folder(folder: Path) -> None:
    """Make the folder of a training that begins anew, without the checkpoint of an earlier one.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        (folder / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"The folder {folder} cannot be written.",
            got=error.strerror or str(error),
            todo="give a place that can be written with --out DIR, or change its permissions",
        ) from error


def write_weights(folder: Path, network: nn.Module) -> str:
    """Publish a network's weights; gives their SHA-256."""
    with publish_file(folder / WEIGHTS) as draft:
        # Clones, because safetensors refuses tensors that share memory, as tied weights do.
        save_file({name: value.clone().contiguous() for name, value in network.state_dict().items()}, draft)
    return sha256_file(folder / WEIGHTS)


def close_folder(folder: Path, history: History, title: str) -> None:
    """Publish curves and history. The checkpoint goes last: an interrupt before that costs no epoch."""
    draw_curves(history.epochs, history.result.metric, title, folder / CURVES)
    history.write(folder / HISTORY)
    (folder / CHECKPOINT).unlink(missing_ok=True)
