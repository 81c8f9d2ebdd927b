"""SENet-18: residual blocks whose channels are weighed by squeeze and excitation.

Hu et al., "Squeeze-and-Excitation Networks" (arXiv 1709.01507), with ResNet-18's blocks, for CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import nn

from .recipe import Recipe
from .spec import ModelSpec, Variant

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # (channels, stride of the first of two blocks)
REDUCTION = 16


class SqueezeExcitation(nn.Module):
    """Weighs each channel between 0 and 1 by what all channels hold on average; the shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // REDUCTION, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // REDUCTION, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, height, width) to the same shape."""
        return x * self.weigh(x)


class SqueezedBlock(nn.Module):
    """Two 3x3 convolutions, squeeze and excitation, the shortcut added, ReLU.

    Where stride or channels change, the shortcut is a 1x1 convolution with batch norm, as in ResNet.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, height, width) to (N, outputs, height / stride, width / stride)."""
        return torch.relu(self.residual(x) + self.shortcut(x))


class SENet18(nn.Module):
    """A 3x3 stem, four stages of two blocks, a 4x4 average pool: 3x32x32 ends at 512x4x4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        channels = 64
        for wider, stride in STAGES:
            blocks += [SqueezedBlock(channels, wider, stride), SqueezedBlock(wider, wider, 1)]
            channels = wider
        self.stages = nn.Sequential(*blocks)
        self.pool = nn.AvgPool2d(4)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) to (N, classes)."""
        return self.classifier(self.pool(self.stages(self.stem(x))).flatten(1))


SPECS = (
    ModelSpec(
        name="senet18",
        source="arXiv 1709.01507",
        standard=Variant("standard", (3, 32, 32), SENet18),
        data=("digits", "cifar10", "fashion-mnist"),
        recipe=Recipe(epochs=10, optimizer="adam", rate=1e-3, schedule="constant", weight_decay=0.0),
        classes=10,
    ),
)
