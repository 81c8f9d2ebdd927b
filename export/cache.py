"""Where work that need not be done twice is kept: demo weights and downloaded data sets."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$EDGEPROOF_CACHE, else `edgeproof` in the user's cache folder ($XDG_CACHE_HOME or ~/.cache)."""
    chosen = os.environ.get("EDGEPROOF_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeproof"


def data_folder() -> Path:
    """Folder of downloaded data sets."""
    return cache_folder() / "data"
