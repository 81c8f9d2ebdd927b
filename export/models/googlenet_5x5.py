"""GoogLeNet as the paper's table has it: true 5x5 convolutions in the third branch, and no batch norm.

Szegedy et al., "Going Deeper with Convolutions" (arXiv 1409.4842), without local response normalisation. The
auxiliary classifiers pool to 4x4 whatever the size of the map. The small variant is the same network at
64x64.
"""

from __future__ import annotations

import torch
from torch import nn

from .init import initialise_he
from .recipe import Recipe
from .spec import ModelSpec, Variant

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Inception(nn.Module):
    """Four branches on the same input, concatenated; height and width are kept.

    Args:
        inputs: channels of the input.
        one: channels of the 1x1 branch.
        three: channels of the 3x3 branch, before and after the 3x3 convolution.
        five: the same of the 5x5 branch.
        pooled: channels of the branch that max-pools.
    """

    def __init__(
        self, inputs: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                convolution(inputs, one, 1),
                nn.Sequential(convolution(inputs, three[0], 1), convolution(*three, 3)),
                nn.Sequential(convolution(inputs, five[0], 1), convolution(*five, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), convolution(inputs, pooled, 1)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, height, width) to (N, one + three[1] + five[1] + pooled, height, width)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Auxiliary(nn.Sequential):
    """A classifier half-way up, for training only: (N, channels, height, width) to (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(4),
            convolution(channels, 128, 1),
            nn.Flatten(),
            nn.Linear(128 * 4 * 4, 1024),
            nn.ReLU(inplace=True),
            nn.Dropout(0.7),
            nn.Linear(1024, classes),
        )


class GoogLeNet(nn.Module):
    """3x224x224 to 192x28x28, two blocks; 480x14x14, five blocks; 832x7x7, two blocks; 1024 features.

    The first auxiliary classifier stands after block 4a, the second after block 4d.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.up_to_4a = nn.Sequential(
            convolution(3, 64, 7, stride=2),
            halve(),
            convolution(64, 64, 1),
            convolution(64, 192, 3),
            halve(),
            Inception(192, 64, (96, 128), (16, 32), 32),
            Inception(256, 128, (128, 192), (32, 96), 64),
            halve(),
            Inception(480, 192, (96, 208), (16, 48), 64),
        )
        self.up_to_4d = nn.Sequential(
            Inception(512, 160, (112, 224), (24, 64), 64),
            Inception(512, 128, (128, 256), (24, 64), 64),
            Inception(512, 112, (144, 288), (32, 64), 64),
        )
        self.up_to_5b = nn.Sequential(
            Inception(528, 256, (160, 320), (32, 128), 128),
            halve(),
            Inception(832, 256, (160, 320), (32, 128), 128),
            Inception(832, 384, (192, 384), (48, 128), 128),
        )
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, classes)
        )
        self.aux1 = Auxiliary(512, classes)
        self.aux2 = Auxiliary(528, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor | Outputs:
        """(N, 3, height, width) to (N, classes); in training to three of these: main, aux2, aux1."""
        after_4a = self.up_to_4a(x)
        after_4d = self.up_to_4d(after_4a)
        main = self.classifier(self.up_to_5b(after_4d))
        if self.training:
            return main, self.aux2(after_4d), self.aux1(after_4a)
        return main


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, with ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU(inplace=True))


def halve() -> nn.Module:
    """Max-pooling by 3x3 that halves an even size."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def build(classes: int) -> nn.Module:
    """The network for 3x224x224; it pools adaptively, hence takes other sizes too."""
    return initialise_he(GoogLeNet(classes))


SPECS = (
    ModelSpec(
        name="googlenet_5x5",
        source="arXiv 1409.4842",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 64, 64), build),
        recipe=Recipe(rate=3e-4),
    ),
)
