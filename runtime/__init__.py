"""What runs on the device: opens a bundle, labels pictures with it, verifies it there. Never needs torch.

    from edgeproof.runtime import Runner

    with Runner.open("artifacts/mobilenet_v3") as runner:
        print(runner.predict("dog.jpg").top[0])

The names in `__all__` are the public API; everything else may change. Each is loaded when it is first used,
so that a process pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle.bundle import Bundle, Golden
    from .bundle.manifest import Manifest
    from .bundle.parity import Parity, Tolerance, compare
    from .bundle.preprocess import Preprocess
    from .errors import EdgeproofError, InputError, PlacementError, ProofError
    from .inference.results import BadFrame, Prediction, Score, Totals
    from .inference.runner import Runner
    from .inference.verification import Replay, verify
    from .providers.placement import Placement
    from .providers.request import Batches, EngineOptions, ProviderRequest
    from .session.session import Session
    from .sources.frames import Frame, Source

_HOME = {
    "BadFrame": "inference.results",
    "Batches": "providers.request",
    "Bundle": "bundle.bundle",
    "EdgeproofError": "errors",
    "EngineOptions": "providers.request",
    "Frame": "sources.frames",
    "Golden": "bundle.bundle",
    "InputError": "errors",
    "Manifest": "bundle.manifest",
    "Parity": "bundle.parity",
    "Placement": "providers.placement",
    "PlacementError": "errors",
    "Prediction": "inference.results",
    "Preprocess": "bundle.preprocess",
    "ProofError": "errors",
    "ProviderRequest": "providers.request",
    "Replay": "inference.verification",
    "Runner": "inference.runner",
    "Score": "inference.results",
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
    "EngineOptions",
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
