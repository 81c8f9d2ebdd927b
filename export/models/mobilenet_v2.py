"""MobileNetV2: inverted residuals with linear bottlenecks.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381), as torchvision
defines it. The small variant differs in one thing: its stem has stride 1. The network for CIFAR also keeps
stride 1 in the stage of 24 channels, so that its average pool is 4x4 at 32x32.
"""

from __future__ import annotations

from typing import cast

from torch import nn
from torchvision.models import mobilenet_v2

from .spec import ModelSpec, Option, Variant

# (expansion, channels, blocks, stride of the first) of each stage
CIFAR_STAGES = [
    [1, 16, 1, 1],
    [6, 24, 2, 1],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
]


def build(classes: int, width: float = 1.0) -> nn.Module:
    """The network of the paper for 3x224x224."""
    return mobilenet_v2(weights=None, num_classes=classes, width_mult=width)


def build_small(classes: int, width: float = 1.0) -> nn.Module:
    """The network with a stride-1 stem, for pictures of 28 to 64 pixels."""
    return with_unit_stride_stem(build(classes, width))


def build_cifar(classes: int, width: float = 1.0) -> nn.Module:
    """The network for 3x32x32: stride 1 in the stem and in the stage of 24 channels."""
    network = mobilenet_v2(
        weights=None, num_classes=classes, width_mult=width, inverted_residual_setting=CIFAR_STAGES
    )
    return with_unit_stride_stem(network)


def with_unit_stride_stem(network: nn.Module) -> nn.Module:
    """Set the stride of a torchvision MobileNet's first convolution to 1, in place."""
    stem = cast(nn.Conv2d, network.get_submodule("features.0.0"))
    stem.stride = (1, 1)
    return network


OPTIONS = {
    "width": Option(1.0, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), "scales every channel count, to a multiple of 8"),
}

SPECS = (
    ModelSpec(
        name="mobilenet_v2",
        source="arXiv 1801.04381",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 32, 32), build_small),
        torchvision_name="mobilenet_v2",
        options=OPTIONS,
    ),
    ModelSpec(
        name="mobilenet_v2_cifar",
        source="arXiv 1801.04381",
        standard=Variant("standard", (3, 32, 32), build_cifar),
        options=OPTIONS,
        data=("digits", "cifar10", "fashion-mnist"),
        classes=10,
    ),
)
