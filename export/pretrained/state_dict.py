"""State dicts: read from untrusted files, unwrapped, and fitted into a network.

`.pt` and `.pth` load with weights_only=True, everything else as safetensors: nothing in a file is run.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...runtime.errors import WeightsError, gist
from ..models.torch_file import SAVE_STATE, is_torchscript

# Where training scripts put the state dict, in the order in which they are looked for: the averaged
# weights first, because where they exist they are the ones that are deployed.
GLOBAL = re.compile(r"GLOBAL (\S+)")  # in the error of torch's loader
WRAPPINGS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "module")
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel and AveragedModel; torch.compile
BOOKKEEPING = ("n_averaged", "num_batches_tracked")  # counters that inference does not read


@dataclass(frozen=True)
class FoundWeights:
    """A plain state dict, and the keys under which it was wrapped ("" for none)."""

    state: Mapping[str, Tensor]
    wrapping: str


def read_weights(path: Path) -> FoundWeights:
    """Read a state dict from .pt, .pth or .safetensors without running anything that is in the file.

    Raises:
        WeightsError: absent, damaged, hostile, or not a state dict.
    """
    if not path.is_file():
        raise WeightsError(
            f"There is no weights file {path}.",
            wanted="a .pt, .pth or .safetensors file, or one of: demo, imagenet, random, factory",
        )
    value = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    wrappings = []
    while isinstance(value, Mapping) and not _is_state_dict(value):
        key = next((key for key in WRAPPINGS if isinstance(value.get(key), Mapping)), None)
        if key is None:
            break
        wrappings.append(key)
        value = value[key]
    if not isinstance(value, Mapping) or not _is_state_dict(value):
        got = (
            f"an object with the keys {', '.join(map(str, list(value)[:8]))}"
            if isinstance(value, Mapping)
            else ""
        )
        raise WeightsError(
            f"{path} holds no state dict.",
            wanted=f"names with tensors, plain or under one of: {', '.join(WRAPPINGS)}",
            got=got or f"a {type(value).__name__}",
            todo="save it with torch.save(model.state_dict(), FILE)",
        )
    return FoundWeights(_without_prefixes(value), ".".join(wrappings))


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state dict into a network; nothing may be missing, left over or of another shape.

    Raises:
        WeightsError: lists the missing, the unexpected and the wrongly shaped.
    """
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and not name.endswith(BOOKKEEPING)]
    unexpected = [name for name in state if name not in wanted and not name.endswith(BOOKKEEPING)]
    shaped = [
        f"{name} {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if missing or unexpected or shaped:
        lists = (("missing", missing), ("unexpected", unexpected), ("of another shape", shaped))
        raise WeightsError(
            f"The weights in {path} do not fit the model.",
            got="\n".join(f"{len(names)} {title}: {_first(names)}" for title, names in lists if names),
            todo=_advice(missing, unexpected, shaped),
        )
    fitting = {name: value for name, value in state.items() if name in wanted}
    network.load_state_dict({**wanted, **fitting})


def _advice(missing: list[str], unexpected: list[str], shaped: list[str]) -> str:
    if shaped and not missing and not unexpected:
        return (
            "if only the classifier differs, the number of classes does: give the data set that the weights "
            "were trained on\nwith --data, or a class_index.json with all their classes"
        )
    return "name the architecture that the weights were trained with (`edgeproof models` lists them)"


def _first(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a safetensors file that can be read: {error}") from error


def _read_torch(path: Path) -> Any:
    if path.stat().st_size == 0:
        raise WeightsError(f"{path} is empty.", wanted="a state dict", todo="copy or save it again")
    if is_torchscript(path):
        raise WeightsError(
            f"{path} is TorchScript: it holds code, which is never run here.",
            wanted="a state dict",
            todo=SAVE_STATE,
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it is no plain state dict, and loading more than that could run code.",
            got=_needs(error),
            todo="save only the state dict: torch.save(model.state_dict(), FILE), or safetensors",
        ) from error
    except Exception as error:  # a damaged archive fails in many ways, none of them documented
        raise WeightsError(f"{path} cannot be read as weights: {gist(error)}") from error


def _needs(error: pickle.UnpicklingError) -> str:
    """What a pickle would import; torch's own text advises to switch its protection off."""
    found = GLOBAL.search(str(error))
    return f"a pickled object that needs {found[1]}" if found else gist(error)


def _is_state_dict(value: Mapping[Any, Any]) -> bool:
    return bool(value) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stripped = dict(state)
    while True:
        weights = [name for name in stripped if not name.endswith(BOOKKEEPING)]
        prefix = next((p for p in PREFIXES if weights and all(name.startswith(p) for name in weights)), None)
        if prefix is None:
            return stripped
        stripped = {name.removeprefix(prefix): value for name, value in stripped.items()}
