"""Every data set is found by its name."""

import pytest

from edgeproof.export.data import catalog
from edgeproof.runtime.errors import DataError


def test_names():
    assert catalog.NAMES == (
        "digits",
        "fashion-mnist",
        "mnist",
        "cifar10",
        "indian-pines",
        "digit-scenes",
        "imagefolder:DIR",
        "coco:DIR",
        "voc:DIR",
    )


@pytest.mark.parametrize(
    ("typed", "meant"), [("digit", "digits"), ("cifar-10", "cifar10"), ("indian_pines", "indian-pines")]
)
def test_unknown_name_offers_what_there_is(typed, meant):
    with pytest.raises(DataError) as caught:
        catalog.find(typed)
    assert all(name in caught.value.details["available"] for name in catalog.NAMES)
    assert caught.value.details["to do"] == f"did you mean {meant}?"


def test_imagefolder_needs_its_folder():
    with pytest.raises(DataError, match="did you mean imagefolder:DIR"):
        catalog.find("imagefolder:")
