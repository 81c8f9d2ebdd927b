"""HybridSN: three-dimensional, then two-dimensional convolutions over a hyperspectral patch.

Roy et al., "HybridSN: Exploring 3D-2D CNN Feature Hierarchy for Hyperspectral Image Classification"
(arXiv 1902.06701). The paper's network has no batch norm; `hybridsn` has one after each convolution, and
`hybridsn_plain` has none, LeakyReLU for ReLU, and gives the logarithms of the probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from .init import initialise_he
from .recipe import Recipe
from .spec import ModelSpec, Variant

Activation = Callable[[], nn.Module]


class HybridSN(nn.Module):
    """Patches of 25x25 pixels and 30 bands, the bands as depth: 1x30x25x25.

    The volume shrinks to 8x24x23x23, 16x20x21x21 and 32x18x19x19; with depth folded into channels it is
    576x19x19, and the flat convolution makes 64x17x17 of it: 18496 features.
    """

    def __init__(self, classes: int, *, norm: bool, activation: Activation) -> None:
        super().__init__()
        self.volume = nn.Sequential(
            *_convolution(nn.Conv3d(1, 8, (7, 3, 3)), nn.BatchNorm3d(8) if norm else None, activation),
            *_convolution(nn.Conv3d(8, 16, (5, 3, 3)), nn.BatchNorm3d(16) if norm else None, activation),
            *_convolution(nn.Conv3d(16, 32, (3, 3, 3)), nn.BatchNorm3d(32) if norm else None, activation),
        )
        self.plane = nn.Sequential(
            *_convolution(nn.Conv2d(576, 64, 3), nn.BatchNorm2d(64) if norm else None, activation)
        )
        self.classifier = nn.Sequential(
            nn.Linear(18496, 256),
            activation(),
            nn.Dropout(0.4),
            nn.Linear(256, 128),
            activation(),
            nn.Dropout(0.4),
            nn.Linear(128, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 30, 25, 25) to (N, classes)."""
        plane = self.volume(x).flatten(1, 2)
        return self.classifier(self.plane(plane).flatten(1))


def build(classes: int) -> nn.Module:
    """The network with batch norm."""
    return initialise_he(HybridSN(classes, norm=True, activation=nn.ReLU))


def build_plain(classes: int) -> nn.Module:
    """The network without batch norm; log-softmax makes cross entropy of the plain likelihood loss."""
    network = HybridSN(classes, norm=False, activation=nn.LeakyReLU)
    return nn.Sequential(initialise_he(network), nn.LogSoftmax(dim=1))


def _convolution(convolution: nn.Module, norm: nn.Module | None, activation: Activation) -> list[nn.Module]:
    return [convolution, *([norm] if norm else []), activation()]


SPECS = tuple(
    ModelSpec(
        name=name,
        source="arXiv 1902.06701",
        standard=Variant("standard", (1, 30, 25, 25), builder),
        data=("indian-pines",),
        recipe=Recipe(epochs=20, rate=1e-3, shift=0.0),
        classes=16,
    )
    for name, builder in (("hybridsn", build), ("hybridsn_plain", build_plain))
)
