"""`indian-pines`: the scene, its principal components, and patches whose centres are never shared."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from tensorly.datasets import data_imports, load_indian_pines

from edgeproof.export.data import catalog
from edgeproof.export.data.indian_pines import LABELS, patches, principal_components
from edgeproof.runtime.errors import DataError, MissingDependency

PIXELS = [46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93]  # of each class


@pytest.fixture(scope="module")
def pines():
    return catalog.find("indian-pines")


@pytest.fixture(scope="module")
def scene():
    return load_indian_pines()


@pytest.fixture(scope="module")
def components(scene):
    return principal_components(scene.tensor)


def centres(split) -> list[bytes]:
    return [split.load(i)[0, :, 12, 12].tobytes() for i in range(len(split))]


def test_parts_have_the_papers_sizes(pines):
    assert (len(pines.train), len(pines.calibration), len(pines.evaluation)) == (3074, 128, 7175)
    assert pines.labels == LABELS
    assert len(set(LABELS)) == 16
    assert not pines.small


def test_samples_are_tensors_that_need_no_preprocessing(pines):
    assert pines.tensor_shape == (1, 30, 25, 25)
    assert pines.preprocess(pines.tensor_shape) is None
    tensor = pines.evaluation.take(range(5)).tensor(None)
    assert (tensor.shape, tensor.dtype) == ((5, 1, 30, 25, 25), np.float32)


def test_every_class_is_split_alike(pines):
    learn, judge = (np.bincount(part.labels, minlength=16) for part in (pines.train, pines.evaluation))
    assert np.array_equal(learn + judge, PIXELS)
    assert np.all(np.abs(learn - 0.3 * np.array(PIXELS)) < 1)


def test_no_pixel_is_the_centre_of_patches_in_both_parts(pines):
    learn, judge = centres(pines.train), centres(pines.evaluation)
    assert len({*learn, *judge}) == sum(PIXELS)  # the spectra tell all pixels apart
    assert not set(learn) & set(judge)
    assert set(centres(pines.calibration)) <= set(learn)


def test_split_the_same_way_each_time(pines):
    again = catalog.find("indian-pines")
    for name in ("train", "calibration", "evaluation"):
        one, other = getattr(pines, name), getattr(again, name)
        assert np.array_equal(one.labels, other.labels)
        assert np.allclose(one.load(7), other.load(7), atol=1e-4)


def test_the_label_is_that_of_the_centre(pines, scene, components):
    rows, columns = np.nonzero(scene.ticks[0])
    where = {
        components[:, r, c].tobytes(): scene.ticks[0][r, c] - 1 for r, c in zip(rows, columns, strict=True)
    }
    assert [where[key] for key in centres(pines.evaluation)] == pines.evaluation.labels.tolist()


def test_components_are_whitened_and_uncorrelated(components):
    assert (components.shape, components.dtype) == ((30, 145, 145), np.float32)
    assert np.allclose(np.cov(components.reshape(30, -1)), np.eye(30), atol=1e-4)
    assert np.allclose(components.mean(axis=(1, 2)), 0, atol=1e-4)


def test_components_are_the_strongest(scene, components):
    """Against an eigendecomposition of the covariance, signs aside."""
    spectra = scene.tensor.reshape(-1, 200)
    variances, axes = np.linalg.eigh(np.cov(spectra, rowvar=False))
    expected = (spectra - spectra.mean(axis=0)) @ axes[:, :-31:-1] / np.sqrt(variances[:-31:-1])
    assert np.allclose(np.abs(components.reshape(30, -1)), np.abs(expected.T), atol=1e-3)
    assert variances[:-31:-1].sum() / variances.sum() > 0.99


@pytest.fixture
def cube():
    return np.random.default_rng(0).standard_normal((30, 40, 50)).astype(np.float32)


def test_a_patch_is_the_cube_around_its_pixel(cube):
    classes = np.zeros((40, 50), np.uint8)
    classes[20, 30], classes[12, 12] = 4, 16
    split = patches(cube, classes)
    assert split.labels.tolist() == [15, 3]
    assert split.labels.dtype == np.int64
    assert np.array_equal(split.load(0), cube[None, :, 0:25, 0:25])
    assert np.array_equal(split.load(1), cube[None, :, 8:33, 18:43])


def test_beyond_the_edge_lie_zeros(cube):
    classes = np.zeros((40, 50), np.uint8)
    classes[0, 0] = classes[39, 49] = 1
    first, last = (patches(cube, classes).load(i)[0] for i in (0, 1))
    assert np.array_equal(first[:, 12:, 12:], cube[:, :13, :13])
    assert np.array_equal(last[:, :13, :13], cube[:, 27:, 37:])
    for patch in (first, last):
        assert np.count_nonzero(patch) == 30 * 13 * 13


def test_a_patch_may_be_changed_without_changing_the_scene(cube):
    split = patches(cube, np.ones((40, 50), np.uint8))
    before = split.load(800).copy()
    split.load(801)[:] = 0
    assert np.array_equal(split.load(800), before)


@pytest.mark.parametrize("module", ["tensorly.datasets", "sklearn.decomposition"])
def test_what_is_not_installed_is_named(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=module.partition(".")[0]) as caught:
        catalog.find("indian-pines")
    assert "edgeproof[export]" in caught.value.details["to do"]


@pytest.mark.parametrize("damage", [None, b"", b"rubbish", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'"])
def test_absent_and_damaged_files(monkeypatch, tmp_path, damage):
    (tmp_path / "data").mkdir()
    if damage is not None:
        (tmp_path / "data" / "Indian_pines_corrected.npy").write_bytes(damage)
    monkeypatch.setattr(data_imports, "dirname", lambda _: str(tmp_path))
    with pytest.raises(DataError, match="--force-reinstall --no-deps tensorly"):
        catalog.find("indian-pines")


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((145, 145, 220), np.arange(145 * 145).reshape(145, 145) % 17),
        ((145, 145, 200), np.arange(145 * 144).reshape(145, 144) % 17),
        ((145, 145, 200), np.arange(145 * 145).reshape(145, 145) % 16),
        ((145, 145, 200), np.arange(145 * 145).reshape(145, 145) % 18),
    ],
)
def test_another_scene_is_refused(monkeypatch, shape, classes):
    other = SimpleNamespace(tensor=np.zeros(shape, np.uint8), ticks=[classes])
    monkeypatch.setattr("tensorly.datasets.load_indian_pines", lambda: other)
    with pytest.raises(DataError, match="not the scene") as caught:
        catalog.find("indian-pines")
    assert "145, 145, 200" in caught.value.details["wanted"]
