"""VGG: 3x3 convolutions only.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (arXiv
1409.1556), as torchvision defines the four of them without batch norm. The small variant differs in one
thing: at 64x64 the last map is 2x2 and not 7x7, and the first fully connected layer takes that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import VGG, vgg11, vgg13, vgg16, vgg19

from .init import initialise_he
from .recipe import Recipe
from .spec import ModelSpec, Variant


def build(builder: Callable[..., nn.Module], classes: int) -> nn.Module:
    """The network of the paper for 3x224x224; it pools its last map to 7x7, hence takes other sizes too."""
    return builder(weights=None, num_classes=classes)


def build_small(builder: Callable[..., VGG], classes: int) -> nn.Module:
    """The network for 3x64x64."""
    network = builder(weights=None, num_classes=classes)
    network.avgpool = nn.AdaptiveAvgPool2d(2)
    network.classifier[0] = initialise_he(nn.Linear(512 * 2 * 2, 4096))
    return network


SPECS = tuple(
    ModelSpec(
        name=builder.__name__,
        source="arXiv 1409.1556",
        standard=Variant("standard", (3, 224, 224), partial(build, builder)),
        small=Variant("small", (3, 64, 64), partial(build_small, builder)),
        torchvision_name=builder.__name__,
        recipe=Recipe(rate=1e-4),
    )
    for builder in (vgg11, vgg13, vgg16, vgg19)
)
