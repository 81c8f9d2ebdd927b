"""AlexNet at half width: the network of one of the two GPUs of the paper.

Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks" (NeurIPS 2012), with half
the channels and without local response normalisation. The small variant differs in one thing: its first
convolution has stride 1, with which 64x64 ends at the same 128x6x6.
"""

from __future__ import annotations

import torch
from torch import nn

from .init import initialise_he
from .recipe import Recipe
from .spec import ModelSpec, Variant


class AlexNetHalf(nn.Module):
    """3x224x224 to 48x55x55, 128x27x27 and, through three 3x3 convolutions, 128x6x6: 4608 features."""

    def __init__(self, classes: int, stem_stride: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 48, 11, stem_stride, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(48, 128, 5, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(128, 192, 3, padding=1),
            *_convolution(192, 192, 3, padding=1),
            *_convolution(192, 128, 3, padding=1),
            nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(128 * 6 * 6, 2048),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(2048, 2048),
            nn.ReLU(inplace=True),
            nn.Linear(2048, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 224, 224) to (N, classes)."""
        return self.classifier(self.features(x).flatten(1))


def build(classes: int) -> nn.Module:
    """The network for 3x224x224."""
    return initialise_he(AlexNetHalf(classes, stem_stride=4))


def build_small(classes: int) -> nn.Module:
    """The network with a stride-1 stem, for 3x64x64."""
    return initialise_he(AlexNetHalf(classes, stem_stride=1))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, *, padding: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU(inplace=True)]


SPECS = (
    ModelSpec(
        name="alexnet_half",
        source="Krizhevsky 2012",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 64, 64), build_small),
        recipe=Recipe(rate=3e-4),
    ),
)
