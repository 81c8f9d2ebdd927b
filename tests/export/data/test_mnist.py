"""`mnist`: in torchvision's own folder, used without network where it is there."""

import numpy as np
import pytest
from torchvision.datasets import MNIST

from edgeproof.export.data import catalog, idx
from edgeproof.runtime.errors import DataError


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(MNIST, "mirrors", [f"{(tmp_path / 'nowhere').as_uri()}/"])


@pytest.fixture
def folder(data_folder):
    return data_folder / "MNIST" / "raw"


@pytest.mark.parametrize("packed", [True, False])
def test_present_files_are_used(folder, write_idx_set, packed):
    write_idx_set(folder, packed=packed)
    data = catalog.find("mnist")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (200, 128, 20)
    assert data.labels == tuple("0123456789")


def test_torchvision_reads_the_same(folder, data_folder, write_idx_set, fingerprints):
    write_idx_set(folder, packed=False)
    theirs = MNIST(str(data_folder), train=False)
    assert np.array_equal(theirs.targets, catalog.find("mnist").evaluation.labels)
    assert np.array_equal(theirs[3][0], catalog.find("mnist").evaluation.load(3))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_prepared_with_mnists_mean_and_std(folder, write_idx_set, shape):
    write_idx_set(folder)
    preprocess = catalog.find("mnist").preprocess(shape)
    assert preprocess.mean == (0.1307,) * shape[0]
    assert preprocess.std == (0.3081,) * shape[0]
    assert preprocess.size == shape[1:]


def test_absent_says_what_to_put_where(folder):
    with pytest.raises(DataError) as caught:
        catalog.find("mnist")
    assert str(folder) in caught.value.details["wanted"]
    assert all(name in caught.value.details["wanted"] for name in idx.FILES)
    assert MNIST.mirrors[0] in caught.value.details["to do"]
    assert caught.value.exit_status == 2


def test_incomplete_is_as_absent(folder, write_idx_set):
    write_idx_set(folder)
    (folder / idx.FILES[3]).unlink()
    with pytest.raises(DataError, match="cannot be downloaded"):
        catalog.find("mnist")


def test_damaged(folder, write_idx_set):
    write_idx_set(folder)
    (folder / idx.FILES[2]).write_bytes(b"not gzip")
    with pytest.raises(DataError, match=idx.FILES[2]):
        catalog.find("mnist")
