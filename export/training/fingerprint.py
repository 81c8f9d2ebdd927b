"""All that trained weights depend on, as plain values. The keys are those of checkpoints and histories."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import WeightsError
from ...runtime.files import sha256_bytes, sha256_file
from ...runtime.records import encode
from ...runtime.tasks.boxes import Boxes
from ..data.dataset import Split
from ..models.recipe import Recipe
from ..models.spec import Variant

SOME_TRUTHS = 16


def data_fingerprint(name: str, train: Split, evaluation: Split) -> dict[str, Any]:
    """A data set: a change of its labels, or of its numbers of samples, is noticed; of its pictures not."""
    return {
        "name": name,
        "samples": len(train),
        "judges": len(evaluation),
        "labels": _labels_digest(train),
    }


def _labels_digest(split: Split) -> str:
    """Of class indices all; of other truths, which are read from files or made, a few."""
    if isinstance(split.labels, np.ndarray):
        return sha256_bytes(split.labels.tobytes())[:16]
    some = [split.labels[i] for i in range(min(SOME_TRUTHS, len(split)))]
    arrays = [[truth.boxes, truth.classes] if isinstance(truth, Boxes) else [truth] for truth in some]
    return sha256_bytes(b"".join(array.tobytes() for each in arrays for array in each))[:16]


def network_fingerprint(
    name: str, variant: Variant, options: Mapping[str, Any], network: nn.Module
) -> dict[str, Any]:
    """An architecture: its name and variant, and a digest of its modules and of its class's code."""
    code = inspect.getsourcefile(type(network))
    digest = hashlib.sha256(repr(network).encode())
    if code and Path(code).is_file():
        digest.update(sha256_file(Path(code)).encode())
    return {
        "name": name,
        "form": variant.name,
        "input": list(variant.input_shape),
        "options": dict(options),
        "digest": digest.hexdigest()[:16],
    }


def training_fingerprint(
    model: dict[str, Any], data: dict[str, Any], preprocess: Preprocess | None, recipe: Recipe
) -> dict[str, Any]:
    """The settings of a training, as they stand in its checkpoint and its history."""
    return {"model": model, "data": data, "preprocess": encode(preprocess), "recipe": encode(recipe)}


def require_same(wanted: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Refuse to mix two trainings.

    Raises:
        WeightsError: names every setting that differs.
    """
    ours, theirs = _flat(wanted), _flat(found)
    names = [name for name in (*ours, *theirs) if ours.get(name) != theirs.get(name)]
    if not names:
        return
    names = list(dict.fromkeys(names))
    raise WeightsError(
        f"{path} is of a training with other settings.",
        wanted="\n".join(f"{name} = {ours.get(name)}" for name in names),
        got="\n".join(f"{name} = {theirs.get(name)}" for name in names),
        todo="add --fresh to start anew in its place, or give another place with --out DIR",
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
