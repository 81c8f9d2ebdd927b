"""GoogLeNet with true 5x5 convolutions and without batch norm (arXiv 1409.4842)."""

import pytest
from torch import nn

from edgeproof.export.models import flops as cost
from edgeproof.export.sources import registry

# Table 1 of the paper: 1x1; 3x3 reduced and after; 5x5 reduced and after; projection after the pool.
BLOCKS = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def convolution(inputs, outputs, kernel):
    return inputs * outputs * kernel * kernel + outputs


def block(inputs, one, three_reduced, three, five_reduced, five, pooled):
    return (
        convolution(inputs, one, 1)
        + convolution(inputs, three_reduced, 1)
        + convolution(three_reduced, three, 3)
        + convolution(inputs, five_reduced, 1)
        + convolution(five_reduced, five, 5)
        + convolution(inputs, pooled, 1)
    )


def auxiliary(channels, classes):
    return convolution(channels, 128, 1) + 2048 * 1024 + 1024 + 1024 * classes + classes


def by_hand(classes):
    stem = convolution(3, 64, 7) + convolution(64, 64, 1) + convolution(64, 192, 3)
    return stem + sum(block(*row) for row in BLOCKS.values()) + 1024 * classes + classes


def test_parameters(parameters):
    assert cost.of_variant(registry.find("googlenet_5x5").standard, 1000).parameters == by_hand(1000)
    whole = by_hand(1000) + auxiliary(512, 1000) + auxiliary(528, 1000)
    assert parameters("googlenet_5x5", 1000) == whole


def test_no_batch_norm_and_nine_5x5(sized):
    modules = list(sized("googlenet_5x5", 10).modules())
    assert not [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    assert len([m for m in modules if isinstance(m, nn.Conv2d) and m.kernel_size == (5, 5)]) == 9


@pytest.mark.parametrize(("variant", "side"), [("standard", 224), ("small", 64)])
def test_shapes(sized, shapes, variant, side):
    network = sized("googlenet_5x5", 10, variant)
    paths = ("up_to_4a.4", "up_to_4a.7", "up_to_4a", "up_to_4d", "up_to_5b")
    found = shapes(network, (3, side, side), *paths)
    assert found == [
        (192, side // 8, side // 8),
        (480, side // 16, side // 16),
        (512, side // 16, side // 16),
        (528, side // 16, side // 16),
        (1024, side // 32, side // 32),
    ]


@pytest.mark.slow
def test_training_gives_the_auxiliary_classifiers_too(trains):
    main, aux2, aux1 = trains("googlenet_5x5", "small")
    assert main.shape == aux2.shape == aux1.shape == (4, 10)


@pytest.mark.slow
def test_the_export_has_no_auxiliary_classifier(proven):
    model = proven("googlenet_5x5", "small")
    assert [value.name for value in model.graph.output] == ["output"]
    assert not [tensor.name for tensor in model.graph.initializer if "aux" in tensor.name]
