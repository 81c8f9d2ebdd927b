"""The packages of the extra `export`, asked for before any work is done."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ..runtime.device.remedies import missing_onnxruntime
from ..runtime.errors import MissingDependency

NEWER_PYTHON = (3, 11)
PYTHON_TODO = (
    'with Python 3.11 or newer, for which onnxsim is published, type pip install "edgeproof[export]"; '
    "a device may keep 3.10"
)
NEEDED = ("torch", "torchvision", "onnx", "onnxscript", "onnxsim", "safetensors")


def require_packages(*more: str) -> None:
    """Refuse to begin where a package is missing.

    Args:
        more: packages that are needed beside those of every command of this floor.

    Raises:
        MissingDependency: says which, and what to type.
    """
    old = "" if sys.version_info >= NEWER_PYTHON else PYTHON_TODO
    for package in (*NEEDED, *more):
        if find_spec(package) is None:
            raise MissingDependency(package, "export", "This command", todo=old)
    if find_spec("onnxruntime") is None:  # it is needed late: after the training
        raise missing_onnxruntime(ModuleNotFoundError(name="onnxruntime"))
