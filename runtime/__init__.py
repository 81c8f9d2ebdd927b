"""What runs on the device: opens a bundle, labels pictures with it, verifies it there. Never needs torch.

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
    from .errors import (
        BundleError,
        EdgeproofError,
        FrameError,
        ImageError,
        InputError,
        MissingDependency,
        ModelError,
        OutputError,
        PlacementError,
        PrecisionError,
        ProofError,
        TensorError,
    )
    from .inference.results import BadFrame, Prediction, Score, Totals
    from .inference.runner import Runner
    from .inference.verification import Replay, verify
    from .providers.placement import Placement
    from .providers.request import Batches, EngineOptions, ProviderRequest
    from .rollout.changeover import SlotRunner
    from .rollout.install import install, rollback
    from .rollout.slot import Installed, Slot
    from .session.session import Session
    from .signing.keys import read_private_key, read_public_key
    from .signing.signature import require_signature, sign
    from .sources.frames import Frame, Source

_MODULES = {
    "bundle.bundle": ("Bundle", "Golden"),
    "bundle.manifest": ("Manifest",),
    "bundle.parity": ("Parity", "Tolerance", "compare"),
    "bundle.preprocess": ("Preprocess",),
    "errors": (
        "BundleError",
        "EdgeproofError",
        "FrameError",
        "ImageError",
        "InputError",
        "MissingDependency",
        "ModelError",
        "OutputError",
        "PlacementError",
        "PrecisionError",
        "ProofError",
        "TensorError",
    ),
    "inference.results": ("BadFrame", "Prediction", "Score", "Totals"),
    "inference.runner": ("Runner",),
    "inference.verification": ("Replay", "verify"),
    "providers.placement": ("Placement",),
    "providers.request": ("Batches", "EngineOptions", "ProviderRequest"),
    "rollout.changeover": ("SlotRunner",),
    "rollout.install": ("install", "rollback"),
    "rollout.slot": ("Installed", "Slot"),
    "session.session": ("Session",),
    "signing.keys": ("read_private_key", "read_public_key"),
    "signing.signature": ("require_signature", "sign"),
    "sources.frames": ("Frame", "Source"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BadFrame",
    "Batches",
    "Bundle",
    "BundleError",
    "EdgeproofError",
    "EngineOptions",
    "Frame",
    "FrameError",
    "Golden",
    "ImageError",
    "InputError",
    "Installed",
    "Manifest",
    "MissingDependency",
    "ModelError",
    "OutputError",
    "Parity",
    "Placement",
    "PlacementError",
    "PrecisionError",
    "Prediction",
    "Preprocess",
    "ProofError",
    "ProviderRequest",
    "Replay",
    "Runner",
    "Score",
    "Session",
    "Slot",
    "SlotRunner",
    "Source",
    "TensorError",
    "Tolerance",
    "Totals",
    "compare",
    "install",
    "read_private_key",
    "read_public_key",
    "require_signature",
    "rollback",
    "sign",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
