"""Where downloaded data sets are kept."""

from __future__ import annotations

from pathlib import Path

from ..runtime.cache import cache_folder


def data_folder() -> Path:
    """Folder of downloaded data sets."""
    return cache_folder() / "data"
