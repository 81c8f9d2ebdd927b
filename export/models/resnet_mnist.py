"""Two residual blocks for handwritten digits.

The block follows He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), without batch
norm.
"""

from __future__ import annotations

import torch
from torch import nn

from .init import initialise_he
from .spec import ModelSpec, Variant


class Residual(nn.Module):
    """Two 3x3 convolutions of equal width, the input added, ReLU; the shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, height, width) to the same shape."""
        return torch.relu(x + self.residual(x))


class ResNetMnist(nn.Module):
    """1x28x28 to 16x12x12 and 32x4x4: 512 features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            Residual(16),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            Residual(32),
        )
        self.classifier = nn.Linear(32 * 4 * 4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) to (N, classes)."""
        return self.classifier(self.features(x).flatten(1))


def build(classes: int) -> nn.Module:
    """The network of the lesson for 1x28x28."""
    return initialise_he(ResNetMnist(classes))


SPECS = (
    ModelSpec(
        name="resnet_mnist",
        source="arXiv 1512.03385",
        standard=Variant("standard", (1, 28, 28), build),
        data=("digits", "mnist", "fashion-mnist"),
        classes=10,
    ),
)
