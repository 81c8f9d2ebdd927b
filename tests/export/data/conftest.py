"""Small data sets, written in the formats that the real ones have on disk."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data import idx
from edgeproof.export.data.dataset import Split


@pytest.fixture(scope="session")
def fingerprints() -> Callable[[Split], list[bytes]]:
    """What tells each sample of a split from the others."""

    def of(split: Split) -> list[bytes]:
        samples = (np.asarray(split.load(i)) for i in range(len(split)))
        return [x.tobytes() + bytes([label]) for x, label in zip(samples, split.labels, strict=True)]

    return of


@pytest.fixture
def data_folder(tmp_path, monkeypatch) -> Path:
    """An empty folder of downloaded data sets."""
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """Write an array as an IDX file, gzipped if its name says so."""

    def write(path: Path, array: np.ndarray) -> None:
        header = bytes((0, 0, 8, array.ndim)) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
        data = header + array.tobytes()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)

    return write


@pytest.fixture(scope="session")
def write_idx_set(write_idx) -> Callable[..., Path]:
    """Write 200 pictures to train on and 20 that judge: the four files of an MNIST-like set."""

    def write(folder: Path, *, packed: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(0)
        for files, count in ((idx.TRAIN_FILES, 200), (idx.EVALUATION_FILES, 20)):
            pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            for name, array in zip(files, (pixels, (np.arange(count) % 10).astype(np.uint8)), strict=True):
                write_idx(folder / (name if packed else name.removesuffix(".gz")), array)
        return folder

    return write


@pytest.fixture(scope="session")
def fill() -> Callable[..., None]:
    """Write pictures into class folders."""

    def write(folder: Path, classes: list[str], count: int = 6) -> None:
        for k, name in enumerate(classes):
            (folder / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (40, 30), (k * 40, i * 20, 0)).save(folder / name / f"{i}.png")

    return write
