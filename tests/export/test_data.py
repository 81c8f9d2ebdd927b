"""Data sets: their parts never overlap, and whatever is wrong with their files is said."""

import gzip
import json

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data import catalog, fashion_mnist
from edgeproof.export.data.dataset import photograph_preprocess
from edgeproof.runtime.errors import DataError


def fingerprints(split) -> list[bytes]:
    return [split.load(i).tobytes() + bytes([split.labels[i]]) for i in range(len(split))]


def test_digits_parts(digits):
    assert (len(digits.train), len(digits.calibration), len(digits.evaluation)) == (1437, 128, 360)
    assert set(fingerprints(digits.calibration)) <= set(fingerprints(digits.train))
    assert digits.small
    assert digits.labels == tuple("0123456789")


def test_digits_are_split_the_same_way_each_time(digits):
    again = catalog.find("digits")
    assert fingerprints(again.evaluation) == fingerprints(digits.evaluation)
    assert fingerprints(again.calibration) == fingerprints(digits.calibration)


def test_digits_split_holds_every_picture_once(digits):
    from sklearn.datasets import load_digits

    parts = np.concatenate([digits.train.labels, digits.evaluation.labels])
    assert np.array_equal(np.bincount(parts), np.bincount(load_digits().target))


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_digits_take_the_models_channels(digits, shape):
    tensor = digits.evaluation.take([0, 1]).tensor(digits.preprocess(shape))
    assert tensor.shape == (2, *shape)
    assert tensor.min() >= -1
    assert tensor.max() <= 1


def test_unknown_name_offers_what_there_is():
    with pytest.raises(DataError) as caught:
        catalog.find("digit")
    assert "digits" in caught.value.details["available"]
    assert "did you mean digits" in caught.value.details["to do"]


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def fashion_folder(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    for i, count in ((0, 200), (2, 20)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / fashion_mnist.FILES[i], pixels)
        write_idx(tmp_path / fashion_mnist.FILES[i + 1], (np.arange(count) % 10).astype(np.uint8))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path)
    return tmp_path


def test_fashion_mnist_from_the_debian_packages_files(fashion_folder):
    data = catalog.find("fashion-mnist")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (200, 128, 20)
    assert data.evaluation.load(0).size == (28, 28)
    assert data.labels[9] == "Ankle boot"


@pytest.mark.parametrize(
    "damage", [b"", b"not gzip", gzip.compress(b"\0\0\x08\x03"), gzip.compress(b"x" * 99)]
)
def test_damaged_fashion_mnist(fashion_folder, damage):
    (fashion_folder / fashion_mnist.FILES[0]).write_bytes(damage)
    with pytest.raises(DataError, match=fashion_mnist.FILES[0]):
        catalog.find("fashion-mnist")


def test_absent_fashion_mnist_says_how_to_get_it(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no network")

    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path)
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", refuse)
    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        catalog.find("fashion-mnist")


def fill(folder, classes, count=6):
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (40, 30), (k * 40, i * 20, 0)).save(folder / name / f"{i}.png")


def test_flat_imagefolder(tmp_path):
    fill(tmp_path, ["cat", "dog", "eel"])
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert data.labels == ("cat", "dog", "eel")
    assert data.train is None
    assert (len(data.calibration), len(data.evaluation)) == (6, 12)
    assert not set(fingerprints(data.calibration)) & set(fingerprints(data.evaluation))


def test_imagefolder_with_train_and_val(tmp_path):
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "dog"], count=2)
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert (len(data.train), len(data.calibration), len(data.evaluation)) == (12, 12, 4)


def test_val_must_not_hold_classes_of_its_own(tmp_path):
    fill(tmp_path / "train", ["cat", "dog"])
    fill(tmp_path / "val", ["cat", "eel"])
    with pytest.raises(DataError, match="eel"):
        catalog.find(f"imagefolder:{tmp_path}")


@pytest.mark.parametrize(
    "index",
    [{"cat": 2, "dog": 0, "eel": 1}, {"2": ["cat", "Cat"], "0": ["dog", "Dog"], "1": ["eel", "Eel"]}],
)
def test_class_index_maps_folders_to_the_models_classes(tmp_path, index):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    data = catalog.find(f"imagefolder:{tmp_path}")
    assert [label.lower() for label in data.labels] == ["dog", "eel", "cat"]
    assert set(data.evaluation.labels) == {0, 2}


@pytest.mark.parametrize(
    "index",
    ["[]", "{}", "nonsense", '{"cat": 0, "dog": 5}', '{"cat": 0}', '{"cat": "x", "dog": 1}', '{"cat": true}'],
)
def test_bad_class_index(tmp_path, index):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "class_index.json").write_text(index)
    with pytest.raises(DataError, match=r"class_index\.json"):
        catalog.find(f"imagefolder:{tmp_path}")


def test_imagenets_thousand_folders_get_imagenets_names(tmp_path):
    index = {f"n{i:08d}": i for i in range(1000)}
    fill(tmp_path, ["n00000207", "n00000208"], count=3)
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    assert catalog.find(f"imagefolder:{tmp_path}").labels[207] == "golden retriever"


def test_absent_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        catalog.find(f"imagefolder:{tmp_path / 'absent'}")
    with pytest.raises(DataError, match="no class folders"):
        catalog.find(f"imagefolder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        catalog.find(f"imagefolder:{tmp_path}")


def test_a_damaged_picture_is_never_skipped_silently(tmp_path):
    fill(tmp_path, ["cat", "dog"])
    (tmp_path / "cat" / "0.png").write_bytes(b"rubbish")
    data = catalog.find(f"imagefolder:{tmp_path}")
    preprocess = data.preprocess((3, 32, 32))
    with pytest.raises(DataError, match=r"0\.png"):
        [split.tensor(preprocess) for split in (data.calibration, data.evaluation)]


def test_photographs_are_prepared_as_for_imagenet():
    preprocess = photograph_preprocess((3, 224, 224))
    assert (preprocess.resize, preprocess.crop) == (256, (224, 224))
    assert preprocess.mean == (0.485, 0.456, 0.406)


def test_batches_hold_the_same_tensors_whatever_their_size(digits):
    preprocess = digits.preprocess((3, 32, 32))
    part = digits.evaluation.take(range(10))
    whole = part.tensor(preprocess)
    for size in (1, 3, 10, 64):
        assert np.array_equal(np.concatenate(list(part.batches(preprocess, size))), whole)
