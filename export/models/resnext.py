"""ResNeXt-50: residual blocks whose 3x3 convolution is split into groups.

Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (arXiv 1611.05431), as torchvision
defines it. The paper's cardinality is the option `groups`, its bottleneck width the option `width_per_group`.
The small variant is the same network at 64x64.
"""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from .init import damp_residuals
from .spec import ModelSpec, Option, Variant


def build(classes: int, groups: int = 32, width_per_group: int = 4) -> nn.Module:
    """The network of the paper for 3x224x224; it pools adaptively, hence takes other sizes too."""
    return damp_residuals(
        ResNet(Bottleneck, [3, 4, 6, 3], num_classes=classes, groups=groups, width_per_group=width_per_group)
    )


SPECS = (
    ModelSpec(
        name="resnext50_32x4d",
        source="arXiv 1611.05431",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 64, 64), build),
        torchvision_name="resnext50_32x4d",
        options={
            "groups": Option(32, (1, 2, 4, 8, 32, 64), "groups of the 3x3 convolutions"),
            "width_per_group": Option(4, (4, 8, 14, 24, 40, 64), "channels of a group in the first stage"),
        },
    ),
)
