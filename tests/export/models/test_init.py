"""The signal that an untrained network passes on."""

import pytest
import torch
from torch import nn

from edgeproof.export.models.init import initialise_he

DEPTH = 20


def relative_signal(network: nn.Module, shape: tuple[int, ...]) -> float:
    with torch.inference_mode():
        output = network(torch.randn(32, *shape))
    return float((output - output.mean(dim=0)).norm() / output.norm())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(256, 256), (256,)),
        (lambda: nn.Conv2d(64, 64, 3, padding=1), (64, 8, 8)),
        (lambda: nn.Conv3d(16, 16, 3, padding=1), (16, 4, 4, 4)),
    ],
)
def test_the_signal_survives_where_pytorchs_own_start_loses_it(layer, shape):
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.Sequential(layer(), nn.ReLU()) for _ in range(DEPTH)))
    assert relative_signal(network, shape) < 1e-3
    assert relative_signal(initialise_he(network), shape) > 0.05


@pytest.mark.parametrize(("after", "rest"), [("relu", [nn.ReLU()]), ("linear", [])])
def test_the_scale_is_kept(after, rest):
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(512, 512), *rest) for _ in range(DEPTH)]
    with torch.inference_mode():
        output = initialise_he(nn.Sequential(*layers), after)(torch.randn(64, 512))
    assert 0.3 < float(output.square().mean().sqrt()) < 3


def test_biases_are_zero_and_other_modules_are_left_alone():
    norm = nn.BatchNorm2d(3)
    nn.init.constant_(norm.weight, 5)
    network = initialise_he(nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.Conv2d(3, 3, 1, bias=False)))
    assert not network[0].bias.any()
    assert (norm.weight == 5).all()
