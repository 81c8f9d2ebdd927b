"""IDX files are read whole, or named as damaged."""

import gzip

import numpy as np
import pytest

from edgeproof.export.data import idx
from edgeproof.export.data.dataset import small_gray_preprocess
from edgeproof.runtime.errors import DataError

LABELS = tuple("0123456789")
PICTURES = gzip.compress(bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4)) + bytes(range(24)))


@pytest.fixture
def folder(tmp_path, write_idx_set):
    return write_idx_set(tmp_path / "raw")


def load(folder):
    return idx.load("test", LABELS, folder, small_gray_preprocess)


@pytest.mark.parametrize("name", ["pictures.gz", "pictures"])
def test_an_array_comes_back_as_it_was_written(tmp_path, write_idx, name):
    array = np.random.default_rng(0).integers(0, 256, (2, 3, 4), dtype=np.uint8)
    write_idx(tmp_path / name, array)
    assert np.array_equal(idx.read_idx(tmp_path / name, 3), array)


@pytest.mark.parametrize("packed", [True, False])
def test_the_parts_of_a_set(tmp_path, write_idx_set, fingerprints, packed):
    data = load(write_idx_set(tmp_path / "raw", packed=packed))
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (200, 128, 20)
    assert set(fingerprints(data.calibration)) <= set(fingerprints(data.train))
    assert not set(fingerprints(data.train)) & set(fingerprints(data.evaluation))
    assert np.array_equal(np.bincount(data.evaluation.labels), [2] * 10)
    assert data.evaluation.load(0).size == (28, 28)
    assert data.small


def test_a_set_is_whole_with_all_four_files(folder):
    assert idx.is_whole(folder)
    (folder / idx.FILES[3]).unlink()
    assert not idx.is_whole(folder)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not gzip",
        PICTURES[:-12],  # cut off
        PICTURES[:20] + b"\xff" * 9 + PICTURES[29:],  # not what deflate writes
        PICTURES[:-8] + b"\0\0\0\0" + PICTURES[-4:],  # another checksum
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(b"x" * 99),
        gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12),  # 2^96 pixels
        gzip.compress(b"\0\0\x08\x01" + bytes(4)),  # labels
    ],
)
@pytest.mark.parametrize("name", [idx.FILES[0], idx.FILES[2]])
def test_a_damaged_file_is_named(folder, name, damage):
    (folder / name).write_bytes(damage)
    with pytest.raises(DataError, match=name) as caught:
        load(folder)
    assert "remove" in caught.value.details["to do"]
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("labels", [np.zeros(199), np.zeros(0), np.full(200, 10)])
def test_labels_must_fit_the_pictures(folder, write_idx, labels):
    write_idx(folder / idx.FILES[1], labels.astype(np.uint8))
    with pytest.raises(DataError, match="200 labels from 0 to 9"):
        load(folder)
