"""The ground floor: what runs on the device. numpy, Pillow, typer and an onnxruntime; never torch.

Names are loaded when they are first used, so that a process pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle import Bundle, Golden
    from .errors import EdgeproofError, InputError, PlacementError, ProofError
    from .frames import Frame, Source
    from .manifest import Manifest
    from .parity import Parity, Tolerance, compare
    from .placement import Placement
    from .preprocess import Preprocess
    from .providers import Batches, ProviderRequest
    from .results import Totals
    from .runner import BadFrame, Prediction, Runner, Score
    from .session import Session
    from .verification import Replay, verify

_HOME = {
    "BadFrame": "runner",
    "Batches": "providers",
    "Bundle": "bundle",
    "EdgeproofError": "errors",
    "Frame": "frames",
    "Golden": "bundle",
    "InputError": "errors",
    "Manifest": "manifest",
    "Parity": "parity",
    "Placement": "placement",
    "PlacementError": "errors",
    "Prediction": "runner",
    "Preprocess": "preprocess",
    "ProofError": "errors",
    "ProviderRequest": "providers",
    "Replay": "verification",
    "Runner": "runner",
    "Score": "runner",
    "Session": "session",
    "Source": "frames",
    "Tolerance": "parity",
    "Totals": "results",
    "compare": "parity",
    "verify": "verification",
}

__all__ = [
    "BadFrame",
    "Batches",
    "Bundle",
    "EdgeproofError",
    "Frame",
    "Golden",
    "InputError",
    "Manifest",
    "Parity",
    "Placement",
    "PlacementError",
    "Prediction",
    "Preprocess",
    "ProofError",
    "ProviderRequest",
    "Replay",
    "Runner",
    "Score",
    "Session",
    "Source",
    "Tolerance",
    "Totals",
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
