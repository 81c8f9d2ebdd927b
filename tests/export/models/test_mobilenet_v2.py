"""MobileNetV2 (arXiv 1801.04381): its width, and its network for CIFAR."""

import pytest

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def by_hand(classes):
    """Every convolution without bias but with the two numbers a channel of its batch norm; the classifier."""
    total, channels = 27 * 32 + 64, 32
    for expansion, wider, blocks in STAGES:
        for _ in range(blocks):
            hidden = expansion * channels
            total += (channels * hidden + 2 * hidden) if expansion > 1 else 0
            total += 9 * hidden + 2 * hidden + hidden * wider + 2 * wider
            channels = wider
    return total + 320 * 1280 + 2 * 1280 + 1280 * classes + classes


def test_parameters(parameters):
    assert parameters("mobilenet_v2", 1000) == by_hand(1000) == 3_504_872
    assert parameters("mobilenet_v2_cifar", 10) == by_hand(10)


@pytest.mark.parametrize(("width", "millions"), [("1.4", 6.1), ("0.75", 2.6), ("0.5", 2.0), ("0.35", 1.7)])
def test_published_parameters_by_width(parameters, width, millions):
    assert round(parameters("mobilenet_v2", 1000, width=width) / 1e6, 1) == millions


def test_channels_are_multiples_of_eight(sized):
    network = sized("mobilenet_v2", 10, width="0.35")
    norms = [m for m in network.modules() if type(m).__name__ == "BatchNorm2d"]
    assert all(norm.num_features % 8 == 0 for norm in norms)


def test_shapes_for_cifar(sized, shapes):
    """Strides of 1 in the stem and in the stage of 24 channels leave 4x4 of 32x32."""
    network = sized("mobilenet_v2_cifar", 10)
    found = shapes(network, (3, 32, 32), *(f"features.{i}" for i in (0, 1, 3, 6, 10, 13, 16, 17, 18)))
    assert found == [
        (32, 32, 32),
        (16, 32, 32),
        (24, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
        (96, 8, 8),
        (160, 4, 4),
        (320, 4, 4),
        (1280, 4, 4),
    ]


def test_it_trains(trains):
    trains("mobilenet_v2_cifar", width="0.35")


@pytest.mark.slow
def test_the_export_gives_pytorchs_answers(proven):
    model = proven("mobilenet_v2_cifar", width="0.5")
    assert "Clip" in {node.op_type for node in model.graph.node}
