"""MobileNetV2: inverted residuals with linear bottlenecks.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), as torchvision
defines it. The small form differs in one thing: its stem has stride 1.
"""

from __future__ import annotations

from typing import cast

from torch import nn
from torchvision.models import mobilenet_v2

from .spec import Form, ModelSpec


def build(classes: int) -> nn.Module:
    """The network of the paper for 3x224x224."""
    return mobilenet_v2(weights=None, num_classes=classes)


def build_small(classes: int) -> nn.Module:
    """The network with a stride-1 stem, for pictures of 28 to 64 pixels."""
    return with_unit_stride_stem(build(classes))


def with_unit_stride_stem(network: nn.Module) -> nn.Module:
    """Set the stride of a torchvision MobileNet's first convolution to 1, in place."""
    stem = cast(nn.Conv2d, network.get_submodule("features.0.0"))
    stem.stride = (1, 1)
    return network


SPECS = (
    ModelSpec(
        name="mobilenet_v2",
        source="arXiv 1801.04381",
        standard=Form("standard", (3, 224, 224), build),
        small=Form("small", (3, 32, 32), build_small),
        torchvision_name="mobilenet_v2",
    ),
)
