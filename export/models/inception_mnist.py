"""Two inception blocks for handwritten digits, the lesson on GoogLeNet.

The block follows Szegedy et al., "Going Deeper with Convolutions" (arXiv 1409.4842), with an average pool,
two 3x3 convolutions in a row as the third branch, and no activation inside.
"""

from __future__ import annotations

import torch
from torch import nn

from .init import initialise_he
from .recipe import Recipe
from .spec import ModelSpec, Variant

CONCATENATED = 16 + 24 + 24 + 24


class Inception(nn.Module):
    """Four branches on the same input, concatenated to 88 channels; height and width are kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(channels, 16, 1),
                nn.Sequential(nn.Conv2d(channels, 16, 1), nn.Conv2d(16, 24, 5, padding=2)),
                nn.Sequential(
                    nn.Conv2d(channels, 16, 1),
                    nn.Conv2d(16, 24, 3, padding=1),
                    nn.Conv2d(24, 24, 3, padding=1),
                ),
                nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), nn.Conv2d(channels, 24, 1)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, channels, height, width) to (N, 88, height, width)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class InceptionMnist(nn.Module):
    """1x28x28 to 10x12x12, 88x12x12, 20x4x4 and 88x4x4: 1408 features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            Inception(10),
            nn.Conv2d(CONCATENATED, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            Inception(20),
        )
        self.classifier = nn.Linear(CONCATENATED * 4 * 4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 28, 28) to (N, classes)."""
        return self.classifier(self.features(x).flatten(1))


def build(classes: int) -> nn.Module:
    """The network of the lesson for 1x28x28."""
    return initialise_he(InceptionMnist(classes), after="linear")


SPECS = (
    ModelSpec(
        name="inception_mnist",
        source="arXiv 1409.4842",
        standard=Variant("standard", (1, 28, 28), build),
        data=("digits", "mnist", "fashion-mnist"),
        recipe=Recipe(
            epochs=10, optimizer="sgd", rate=0.01, schedule="constant", momentum=0.5, weight_decay=0.0
        ),
        classes=10,
    ),
)
