"""SENet-18 (arXiv 1709.01507)."""

import pytest
import torch

from edgeproof.export.models.senet import SqueezedBlock, SqueezeExcitation
from edgeproof.export.sources import registry


def block(inputs, outputs, *, projected):
    convolutions = 9 * inputs * outputs + 9 * outputs * outputs + 2 * 2 * outputs
    squeezed = outputs // 16
    excitation = outputs * squeezed + squeezed + squeezed * outputs + outputs
    return convolutions + excitation + (inputs * outputs + 2 * outputs if projected else 0)


def test_parameters(parameters):
    expected = 27 * 64 + 2 * 64 + 512 * 10 + 10 + 2 * block(64, 64, projected=False)
    for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
        expected += block(inputs, outputs, projected=True) + block(outputs, outputs, projected=False)
    assert parameters("senet18", 10) == expected


def test_shapes(sized, shapes):
    found = shapes(sized("senet18", 10), (3, 32, 32), "stem", *(f"stages.{i}" for i in (1, 3, 5, 7)), "pool")
    assert found == [(64, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 1, 1)]


def test_channels_are_weighed_between_0_and_1():
    torch.manual_seed(0)
    x = torch.rand(2, 32, 5, 5) + 0.1
    share = SqueezeExcitation(32)(x) / x
    assert ((share > 0) & (share < 1)).all()
    assert torch.allclose(share, share[:, :, :1, :1].expand_as(share))


def test_the_excitation_comes_before_the_shortcut():
    block = SqueezedBlock(16, 16, 1).eval()
    block.residual[5].weigh[3].bias.data.fill_(-1e4)  # sigmoid gives 0: only the shortcut is left
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(block(x), x.relu())


def test_recipe():
    recipe = registry.find("senet18").recipe
    assert (recipe.optimizer, recipe.rate, recipe.epochs, recipe.schedule) == ("adam", 1e-3, 10, "constant")


@pytest.mark.slow
def test_it_trains(trains):
    trains("senet18")


@pytest.mark.slow
def test_the_export_gives_pytorchs_answers(proven):
    model = proven("senet18")
    assert "Sigmoid" in {node.op_type for node in model.graph.node}
