"""`digits`: split the same way each time, without overlap."""

import sys

import numpy as np
import pytest

from edgeproof.export.data import catalog
from edgeproof.runtime.errors import MissingDependency


def test_digits_parts(digits, fingerprints):
    assert (len(digits.train), len(digits.calibration), len(digits.evaluation)) == (1437, 128, 360)
    assert set(fingerprints(digits.calibration)) <= set(fingerprints(digits.train))
    assert not set(fingerprints(digits.train)) & set(fingerprints(digits.evaluation))
    assert digits.small
    assert digits.labels == tuple("0123456789")


def test_digits_are_split_the_same_way_each_time(digits, fingerprints):
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


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependency, match=r"edgeproof\[export\]"):
        catalog.find("digits")
