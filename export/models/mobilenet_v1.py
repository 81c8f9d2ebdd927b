"""MobileNetV1: depthwise separable convolutions.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv 1704.04861). The paper's width multiplier is the option `width`, its shallow network the option
`shallow`, and its resolution multiplier is the size of the input. The small variant and the network for CIFAR
have a stem of stride 1, which leaves a map of 2x2 at 32x32; the latter pools exactly that.
"""

from __future__ import annotations

import torch
from torch import nn

from .spec import ModelSpec, Option, Variant

WIDE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))  # (channels, stride) of a block
REPEATED = ((512, 1),) * 5
LAST = ((1024, 2), (1024, 1))


class MobileNetV1(nn.Module):
    """A convolution, 13 separable blocks (8 if `shallow`), pooling, one fully connected layer.

    At 3x224x224 the stem gives 32x112x112 and the blocks end at 1024x7x7, for width 1.
    """

    def __init__(
        self, classes: int, width: float, *, shallow: bool, stem_stride: int, pool: nn.Module
    ) -> None:
        super().__init__()
        channels = round(32 * width)
        layers = [convolution(3, channels, 3, stem_stride)]
        for wanted, stride in WIDE + (() if shallow else REPEATED) + LAST:
            wider = round(wanted * width)
            layers.append(separable(channels, wider, stride))
            channels = wider
        self.features = nn.Sequential(*layers)
        self.pool = pool
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, height, width) to (N, classes)."""
        return self.classifier(self.pool(self.features(x)).flatten(1))


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Each channel filtered on its own by 3x3, then all mixed by 1x1."""
    return nn.Sequential(
        convolution(inputs, inputs, 3, stride, groups=inputs), convolution(inputs, outputs, 1)
    )


def build(classes: int, width: float = 1.0, *, shallow: bool = False) -> nn.Module:
    """The network of the paper for 3x224x224, or for other sizes of picture (its resolution multiplier)."""
    return MobileNetV1(classes, width, shallow=shallow, stem_stride=2, pool=nn.AdaptiveAvgPool2d(1))


def build_small(classes: int, width: float = 1.0, *, shallow: bool = False) -> nn.Module:
    """The network with a stride-1 stem, for pictures of 28 to 64 pixels."""
    return MobileNetV1(classes, width, shallow=shallow, stem_stride=1, pool=nn.AdaptiveAvgPool2d(1))


def build_cifar(classes: int, width: float = 1.0, *, shallow: bool = False) -> nn.Module:
    """The network for 3x32x32: stride-1 stem, and a 2x2 average pool."""
    return MobileNetV1(classes, width, shallow=shallow, stem_stride=1, pool=nn.AvgPool2d(2))


OPTIONS = {
    "width": Option(1.0, (0.25, 0.5, 0.75, 1.0), "scales every channel count"),
    "shallow": Option(False, (False, True), "drops the five blocks of 512 channels and stride 1"),
}

SPECS = (
    ModelSpec(
        name="mobilenet_v1",
        source="arXiv 1704.04861",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 32, 32), build_small),
        options=OPTIONS,
    ),
    ModelSpec(
        name="mobilenet_v1_cifar",
        source="arXiv 1704.04861",
        standard=Variant("standard", (3, 32, 32), build_cifar),
        options=OPTIONS,
        data=("digits", "cifar10", "fashion-mnist"),
        classes=10,
    ),
)
