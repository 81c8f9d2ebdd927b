"""The lesson's residual network."""

import torch

from edgeproof.export.models.resnet_mnist import Residual


def residual(channels):
    return 2 * (channels * channels * 9 + channels)


def test_parameters(parameters):
    convolutions = 16 * 25 + 16 + 32 * 16 * 25 + 32
    assert parameters("resnet_mnist", 10) == convolutions + residual(16) + residual(32) + 5130


def test_shapes(sized, shapes):
    network = sized("resnet_mnist", 10)
    found = shapes(network, (1, 28, 28), "features.2", "features.3", "features.6", "features.7")
    assert found == [(16, 12, 12), (16, 12, 12), (32, 4, 4), (32, 4, 4)]
    assert network.classifier.in_features == 32 * 4 * 4 == 512


def test_relu_comes_after_the_add():
    block = Residual(4)
    for parameter in block.parameters():
        parameter.data.zero_()
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_it_trains(trains):
    trains("resnet_mnist")


def test_the_export_gives_pytorchs_answers(proven):
    proven("resnet_mnist")
