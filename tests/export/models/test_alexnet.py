"""AlexNet at half width."""

import pytest

CONVOLUTIONS = (
    (48 * 3 * 121 + 48)
    + (128 * 48 * 25 + 128)
    + (192 * 128 * 9 + 192)
    + (192 * 192 * 9 + 192)
    + (128 * 192 * 9 + 128)
)
CONNECTED = 4608 * 2048 + 2048 + 2048 * 2048 + 2048


def test_parameters(parameters):
    assert parameters("alexnet_half", 1000) == CONVOLUTIONS + CONNECTED + 2048 * 1000 + 1000
    assert parameters("alexnet_half", 5, "small") == CONVOLUTIONS + CONNECTED + 2048 * 5 + 5


def test_shapes(sized, shapes):
    maps = ("features.1", "features.2", "features.5", "features.11", "features")
    standard, small = sized("alexnet_half", 5), sized("alexnet_half", 5, "small")
    assert shapes(standard, (3, 224, 224), *maps) == [
        (48, 55, 55),
        (48, 27, 27),
        (128, 13, 13),
        (128, 13, 13),
        (128, 6, 6),
    ]
    assert shapes(small, (3, 64, 64), *maps)[0] == (48, 58, 58)
    assert shapes(small, (3, 64, 64), *maps)[-1] == (128, 6, 6)
    connected = [standard.classifier[i].in_features for i in (1, 4, 6)]
    assert connected == [4608, 2048, 2048]


@pytest.mark.slow
def test_it_trains(trains):
    trains("alexnet_half", "small")


@pytest.mark.slow
def test_the_export_gives_pytorchs_answers(proven):
    proven("alexnet_half", "small")
