"""The counts of parameters and multiply-adds, against arithmetic and against the papers."""

import pytest
import torch
from torch import nn

from edgeproof.export.models import flops as cost
from edgeproof.export.models.spec import Variant
from edgeproof.export.sources import registry

# Multiply-adds in millions, as the papers' tables give them.
PUBLISHED = {
    "mobilenet_v1": 569,
    "mobilenet_v2": 300,
    "mobilenet_v3_small": 56,
    "mobilenet_v3_large": 219,
    "resnext50_32x4d": 4200,
}
# In thousand millions, as torchvision's documentation gives them.
GFLOPS = {
    "vgg11": 7.61,
    "vgg13": 11.31,
    "vgg16": 15.47,
    "vgg19": 19.63,
    "googlenet": 1.50,
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "resnet152": 11.51,
    "resnext50_32x4d": 4.23,
}


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv1d(2, 5, 3), (2, 10), 5 * 8 * 2 * 3),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (3, 8, 8), 4 * 4 * 4 * 3 * 9),
        (nn.Conv2d(6, 6, 5, groups=6), (6, 9, 9), 6 * 5 * 5 * 25),
        (nn.Conv3d(1, 2, (3, 2, 2)), (1, 5, 4, 4), 2 * 3 * 3 * 3 * 12),
        (nn.Linear(7, 3), (7,), 21),
        (nn.BatchNorm2d(3), (3, 4, 4), 0),
    ],
)
def test_one_layer(layer, shape, expected):
    found = cost.of_network(layer, shape)
    assert found.multiply_adds == expected
    assert found.parameters == sum(parameter.numel() for parameter in layer.parameters())


class TwiceAndNever(nn.Module):
    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.never = nn.Linear(4, 100)

    def forward(self, x):
        return self.never(x) if self.training else self.twice(self.twice(x))


def test_what_runs_twice_costs_twice_but_is_kept_once_and_what_never_runs_is_free():
    assert cost.of_network(TwiceAndNever(), (4,)) == cost.Cost(parameters=20, multiply_adds=32)


def test_no_hook_is_left_behind():
    network = nn.Sequential(nn.Linear(2, 2))
    cost.of_network(network, (2,))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_form_is_counted_without_memory_for_its_weights():
    devices = []

    def build(classes):
        network = nn.Linear(3, classes)
        devices.append(network.weight.device.type)
        return network

    assert cost.of_variant(Variant("standard", (3,), build), 5) == cost.Cost(20, 15)
    assert devices == ["meta"]
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_multiply_adds(name):
    found = cost.of_variant(registry.find(name).standard, 1000)
    assert found.multiply_adds / 1e6 == pytest.approx(PUBLISHED[name], rel=0.03)


@pytest.mark.parametrize("name", GFLOPS)
def test_torchvisions_multiply_adds(name):
    found = cost.of_variant(registry.find(name).standard, 1000)
    assert found.multiply_adds / 1e9 == pytest.approx(GFLOPS[name], rel=0.005)
