"""`fashion-mnist`: from the Debian package, else from torchvision's download."""

import pytest

from edgeproof.export.data import catalog, fashion_mnist, idx
from edgeproof.runtime.errors import DataError


@pytest.fixture
def debian_folder(tmp_path, monkeypatch, data_folder):
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    return tmp_path / "debian"


def test_from_the_debian_packages_files(debian_folder, write_idx_set):
    write_idx_set(debian_folder)
    data = catalog.find("fashion-mnist")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (200, 128, 20)
    assert data.labels[9] == "Ankle boot"


def test_from_torchvisions_download(debian_folder, data_folder, write_idx_set):
    write_idx_set(data_folder / "FashionMNIST" / "raw")
    assert len(catalog.find("fashion-mnist").train) == 200


def test_damaged(debian_folder, write_idx_set):
    write_idx_set(debian_folder)
    (debian_folder / idx.FILES[0]).write_bytes(b"not gzip")
    with pytest.raises(DataError, match=idx.FILES[0]):
        catalog.find("fashion-mnist")


def test_absent_says_how_to_get_it(debian_folder, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no network")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", refuse)
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        catalog.find("fashion-mnist")
