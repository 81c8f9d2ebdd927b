"""HybridSN (arXiv 1902.06701)."""

import pytest
import torch
from torch import nn

from edgeproof.export.sources import registry

CONVOLUTIONS = 8 * 63 + 8 + 16 * 8 * 45 + 16 + 32 * 16 * 27 + 32 + 64 * 576 * 9 + 64
CLASSIFIER = 18496 * 256 + 256 + 256 * 128 + 128 + 128 * 16 + 16
NORMS = 2 * (8 + 16 + 32 + 64)


def test_parameters(parameters):
    """The paper's Table I gives 5,122,176 for Indian Pines, without batch norm."""
    assert parameters("hybridsn_plain", 16) == CONVOLUTIONS + CLASSIFIER == 5_122_176
    assert parameters("hybridsn", 16) == 5_122_176 + NORMS


def test_shapes(sized, shapes):
    network = sized("hybridsn", 16)
    found = shapes(network, (1, 30, 25, 25), "volume.2", "volume.5", "volume.8", "plane", "classifier.0")
    assert found == [(8, 24, 23, 23), (16, 20, 21, 21), (32, 18, 19, 19), (64, 17, 17), (256,)]
    assert network.classifier[0].in_features == 64 * 17 * 17 == 18496
    assert network.plane[0].in_channels == 32 * 18 == 576


def test_the_two_variants(build):
    kinds = {name: {type(m) for m in build(name, 16).modules()} for name in ("hybridsn", "hybridsn_plain")}
    assert {nn.BatchNorm3d, nn.BatchNorm2d, nn.ReLU} <= kinds["hybridsn"]
    assert not {nn.LeakyReLU, nn.LogSoftmax} & kinds["hybridsn"]
    assert {nn.LeakyReLU, nn.LogSoftmax} <= kinds["hybridsn_plain"]
    assert not {nn.BatchNorm3d, nn.BatchNorm2d, nn.ReLU} & kinds["hybridsn_plain"]


def test_the_plain_variant_gives_logarithms_of_probabilities(build):
    with torch.inference_mode():
        output = build("hybridsn_plain", 16).eval()(torch.randn(2, 1, 30, 25, 25))
    assert torch.allclose(output.exp().sum(dim=1), torch.ones(2))


def test_dropout(build):
    drops = [m.p for m in build("hybridsn", 16).modules() if isinstance(m, nn.Dropout)]
    assert drops == [0.4, 0.4]


def test_it_is_for_cubes_not_pictures():
    spec = registry.find("hybridsn")
    assert spec.data == ("indian-pines",)
    assert spec.recipe.shift == 0
    assert spec.small is None


@pytest.mark.parametrize("name", ["hybridsn", "hybridsn_plain"])
def test_it_trains(trains, name):
    trains(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hybridsn", "hybridsn_plain"])
def test_the_export_gives_pytorchs_answers(proven, name):
    model = proven(name)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]] == [1, 30, 25, 25]
