"""The lesson's inception network."""

import torch

from edgeproof.export.sources import registry


def inception(channels):
    first = 3 * (channels * 16 + 16) + channels * 24 + 24
    return first + (16 * 24 * 25 + 24) + (16 * 24 * 9 + 24) + (24 * 24 * 9 + 24)


def test_parameters(parameters):
    convolutions = 10 * 25 + 10 + 20 * 88 * 25 + 20
    assert parameters("inception_mnist", 10) == convolutions + inception(10) + inception(20) + 14090


def test_shapes(sized, shapes):
    network = sized("inception_mnist", 10)
    found = shapes(network, (1, 28, 28), "features.2", "features.3", "features.6", "features.7")
    assert found == [(10, 12, 12), (88, 12, 12), (20, 4, 4), (88, 4, 4)]
    assert network.classifier.in_features == 88 * 4 * 4 == 1408


def test_the_four_branches(build):
    branches = build("inception_mnist", 10).features[3].branches
    with torch.no_grad():
        assert [b(torch.zeros(1, 10, 12, 12)).shape[1] for b in branches] == [16, 24, 24, 24]


def test_recipe():
    recipe = registry.find("inception_mnist").recipe
    assert (recipe.optimizer, recipe.rate, recipe.momentum, recipe.batch) == ("sgd", 0.01, 0.5, 64)


def test_it_trains(trains):
    trains("inception_mnist")


def test_the_export_gives_pytorchs_answers(proven):
    proven("inception_mnist")
