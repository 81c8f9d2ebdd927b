"""Where work that need not be done twice is kept: engines here, weights and data sets on the floors above."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$EDGEPROOF_CACHE, else `edgeproof` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    chosen = os.environ.get("EDGEPROOF_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeproof"


def engine_folder() -> Path:
    """Folder of the engines that TensorRT compiled on this machine."""
    return cache_folder() / "engines"
