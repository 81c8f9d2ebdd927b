"""MobileNetV1 against the tables of its paper (arXiv 1704.04861)."""

import itertools

import pytest
import torch

from edgeproof.export.models import flops as cost

CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
SHALLOW = (32, 64, 128, 128, 256, 256, 512, 1024, 1024)


def by_hand(channels, width, classes):
    """Convolutions without biases, two numbers a channel for every batch norm, and the classifier."""
    scaled = [int(c * width) for c in channels]
    stem = 27 * scaled[0] + 2 * scaled[0]
    blocks = sum(9 * a + 2 * a + a * b + 2 * b for a, b in itertools.pairwise(scaled))
    return stem + blocks + scaled[-1] * classes + classes


@pytest.mark.parametrize(("width", "millions"), [(1.0, 4.2), (0.75, 2.6), (0.5, 1.3), (0.25, 0.5)])
def test_parameters_by_width(parameters, width, millions):
    found = parameters("mobilenet_v1", 1000, width=str(width))
    assert found == by_hand(CHANNELS, width, 1000)
    assert round(found / 1e6, 1) == millions


def test_parameters_of_the_whole_and_of_the_shallow_network(parameters):
    assert parameters("mobilenet_v1", 1000) == 4_231_976
    shallow = parameters("mobilenet_v1", 1000, shallow="true")
    assert shallow == by_hand(SHALLOW, 1.0, 1000)
    assert round(shallow / 1e6, 1) == 2.9


@pytest.mark.parametrize(
    ("options", "side", "millions"),
    [
        ({"width": "0.75"}, 224, 325),
        ({"width": "0.5"}, 224, 149),
        ({"width": "0.25"}, 224, 41),
        ({"shallow": "true"}, 224, 307),
        ({}, 192, 418),
        ({}, 160, 290),
        ({}, 128, 186),
    ],
)
def test_multiply_adds_by_width_and_resolution(build, options, side, millions):
    with torch.device("meta"):
        found = cost.of_network(build("mobilenet_v1", 1000, **options), (3, side, side))
    assert found.multiply_adds / 1e6 == pytest.approx(millions, rel=0.015)


def test_shapes(sized, shapes):
    standard = shapes(sized("mobilenet_v1", 10), (3, 224, 224), "features.0", "features", "pool")
    assert standard == [(32, 112, 112), (1024, 7, 7), (1024, 1, 1)]
    small = shapes(sized("mobilenet_v1", 10, "small"), (3, 32, 32), "features.0", "features", "pool")
    assert small == [(32, 32, 32), (1024, 2, 2), (1024, 1, 1)]


def test_cifar_has_a_fixed_pool_and_no_other_weights(sized, shapes, build):
    network = build("mobilenet_v1_cifar", 10)
    assert network.pool.kernel_size == 2
    found = shapes(network, (3, 32, 32), "features.0", "features", "pool")
    assert found == [(32, 32, 32), (1024, 2, 2), (1024, 1, 1)]
    network.load_state_dict(build("mobilenet_v1", 10, "small").state_dict())


def test_it_trains(trains):
    trains("mobilenet_v1_cifar", width="0.25")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant", "options"),
    [
        ("mobilenet_v1", "small", {"width": "0.25"}),
        ("mobilenet_v1_cifar", "standard", {"width": "0.5", "shallow": "true"}),
    ],
)
def test_the_export_gives_pytorchs_answers(proven, name, variant, options):
    proven(name, variant, **options)
