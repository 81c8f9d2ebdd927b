"""The ground floor: what runs on the device. numpy, Pillow, typer and an onnxruntime; never torch.

Names are loaded when they are first used, so that a process pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle import Bundle, Golden
    from .errors import EdgeproofError, InputError, ProofError
    from .manifest import Manifest
    from .parity import Parity, Tolerance, compare
    from .preprocess import Preprocess
    from .runner import BadFrame, Prediction, Runner, Score
    from .session import Session
    from .verification import verify

_HOME = {
    "BadFrame": "runner",
    "Bundle": "bundle",
    "EdgeproofError": "errors",
    "Golden": "bundle",
    "InputError": "errors",
    "Manifest": "manifest",
    "Parity": "parity",
    "Prediction": "runner",
    "Preprocess": "preprocess",
    "ProofError": "errors",
    "Runner": "runner",
    "Score": "runner",
    "Session": "session",
    "Tolerance": "parity",
    "compare": "parity",
    "verify": "verification",
}

__all__ = [
    "BadFrame",
    "Bundle",
    "EdgeproofError",
    "Golden",
    "InputError",
    "Manifest",
    "Parity",
    "Prediction",
    "Preprocess",
    "ProofError",
    "Runner",
    "Score",
    "Session",
    "Tolerance",
    "compare",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
