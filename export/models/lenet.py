"""LeNet for CIFAR: two convolutions and three fully connected layers, with ReLU and max-pooling.

After LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (Proceedings of the IEEE, 1998).
"""

from __future__ import annotations

import torch
from torch import nn

from .init import initialise_he
from .spec import ModelSpec, Variant


class LeNet(nn.Module):
    """3x32x32 to 16x14x14 and 32x5x5: 800 features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(32 * 5 * 5, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) to (N, classes)."""
        return self.classifier(self.features(x).flatten(1))


def build(classes: int) -> nn.Module:
    """The network of the lesson for 3x32x32."""
    return initialise_he(LeNet(classes))


SPECS = (
    ModelSpec(
        name="lenet",
        source="LeCun 1998",
        standard=Variant("standard", (3, 32, 32), build),
        data=("digits", "cifar10", "fashion-mnist"),
        classes=10,
    ),
)
