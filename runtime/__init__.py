"""The ground floor: what runs on the device. numpy, Pillow, typer and an onnxruntime; never torch.

Names are loaded when they are first used, so that a process pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle.bundle import Bundle, Golden
    from .bundle.manifest import Manifest
    from .bundle.parity import Parity, Tolerance, compare
    from .bundle.preprocess import Preprocess
    from .errors import EdgeproofError, InputError, PlacementError, ProofError
    from .inference.results import Totals
    from .inference.runner import BadFrame, Prediction, Runner, Score
    from .inference.verification import Replay, verify
    from .providers.placement import Placement
    from .providers.request import Batches, ProviderRequest
    from .session.session import Session
    from .sources.frames import Frame, Source

_HOME = {
    "BadFrame": "inference.runner",
    "Batches": "providers.request",
    "Bundle": "bundle.bundle",
    "EdgeproofError": "errors",
    "Frame": "sources.frames",
    "Golden": "bundle.bundle",
    "InputError": "errors",
    "Manifest": "bundle.manifest",
    "Parity": "bundle.parity",
    "Placement": "providers.placement",
    "PlacementError": "errors",
    "Prediction": "inference.runner",
    "Preprocess": "bundle.preprocess",
    "ProofError": "errors",
    "ProviderRequest": "providers.request",
    "Replay": "inference.verification",
    "Runner": "inference.runner",
    "Score": "inference.runner",
    "Session": "session.session",
    "Source": "sources.frames",
    "Tolerance": "bundle.parity",
    "Totals": "inference.results",
    "compare": "bundle.parity",
    "verify": "inference.verification",
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
