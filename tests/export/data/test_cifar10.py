"""`cifar10`: from torchvision's files, and never a pickle whose MD5 is not the published one."""

import hashlib
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from edgeproof.export.data import catalog
from edgeproof.runtime.errors import DataError

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCH = 40


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def written(path: Path, content: object) -> list[str]:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return [path.name, md5(path)]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(CIFAR10, "url", f"{(tmp_path / 'nowhere').as_uri()}/cifar-10-python.tar.gz")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6 * BATCH, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def folder(data_folder, monkeypatch, pixels):
    """A small set in CIFAR-10's format, whose MD5s torchvision takes for the published ones."""
    folder = data_folder / CIFAR10.base_folder
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    labels = [i % 10 for i in range(BATCH)]
    files = [
        written(folder / name, {"data": rows.reshape(BATCH, -1), "labels": labels})
        for name, rows in zip(names, np.split(pixels, 6), strict=True)
    ]
    name, checksum = written(folder / "batches.meta", {"label_names": LABELS})
    monkeypatch.setattr(CIFAR10, "train_list", files[:5])
    monkeypatch.setattr(CIFAR10, "test_list", files[5:])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": checksum})
    return folder


def test_present_files_are_used(folder, fingerprints):
    data = catalog.find("cifar10")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (200, 128, 40)
    assert set(fingerprints(data.calibration)) <= set(fingerprints(data.train))
    assert not set(fingerprints(data.train)) & set(fingerprints(data.evaluation))
    assert np.array_equal(np.bincount(data.train.labels), [20] * 10)
    assert data.labels == tuple(LABELS)
    assert data.small


def test_pictures_are_in_colour_and_upright(folder, pixels):
    data = catalog.find("cifar10")
    for split, first in ((data.train, 0), (data.evaluation, 5 * BATCH)):
        picture = split.load(3)
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), pixels[first + 3].transpose(1, 2, 0))


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64), (1, 28, 28)])
def test_they_take_the_models_shape(folder, shape):
    data = catalog.find("cifar10")
    assert data.evaluation.take([0, 1]).tensor(data.preprocess(shape)).shape == (2, *shape)


def test_an_archive_put_into_the_folder_is_unpacked(folder, data_folder, monkeypatch):
    archive = data_folder / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    shutil.rmtree(folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    assert len(catalog.find("cifar10").train) == 200


def test_an_archive_of_another_md5_is_not(folder, data_folder):
    with tarfile.open(data_folder / CIFAR10.filename, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="cannot be downloaded"):
        catalog.find("cifar10")
    assert not folder.exists()


def test_absent_says_what_to_put_where(data_folder):
    with pytest.raises(DataError) as caught:
        catalog.find("cifar10")
    assert caught.value.details["wanted"] == (
        f"cifar-10-python.tar.gz (MD5 c58f30108f718f92721af3b95e74349a) in {data_folder}"
    )
    assert CIFAR10.url in caught.value.details["to do"]
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "test_batch", "batches.meta"])
def test_damaged_or_missing_files(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(DataError, match="is damaged"):
        catalog.find("cifar10")
    (folder / name).unlink()
    with pytest.raises(DataError, match="is damaged"):
        catalog.find("cifar10")


class Hostile:
    """Touches a file when its pickle is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_pickle_of_another_md5_is_never_read(folder, tmp_path, name):
    mark = tmp_path / "mark"
    written(folder / name, Hostile(mark))
    pickle.loads((folder / name).read_bytes())  # noqa: S301 - shows that the trap works
    assert mark.exists()
    mark.unlink()
    with pytest.raises(DataError):
        catalog.find("cifar10")
    assert not mark.exists()
