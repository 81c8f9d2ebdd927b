"""The cache folder: compiled engines; the floors above keep weights and data sets there."""

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
