"""Files that torch writes, told apart by what is in them: weights, TorchScript, an exported program."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ...runtime.errors import ModelError

TORCH_FILES = (".pt", ".pth", ".ts", ".torchscript")
FACTORY = "give the network's factory, package.module:factory or file.py:factory, and --weights FILE"
SAVE_STATE = (
    "in your training's code: torch.save(network.state_dict(), FILE); then give the network's factory, "
    "package.module:factory or file.py:factory, and --weights FILE"
)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip that holds code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except Exception:  # zipfile fails on damaged files in more ways than it documents; torch's loader tells
        return False
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def not_a_model(path: Path) -> ModelError:
    """Why a file that torch wrote is no model to export."""
    if not path.is_file():
        return ModelError(f"There is no file {path}.", todo=FACTORY)
    if is_torchscript(path):
        return ModelError(
            f"{path} is TorchScript, which PyTorch's ONNX exporter no longer takes.",
            wanted="a network as Python code, with its weights",
            todo=SAVE_STATE,
        )
    return ModelError(
        f"{path} holds weights, and no network.", wanted="a network as Python code", todo=FACTORY
    )
