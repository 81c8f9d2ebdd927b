"""GoogLeNet: nine inception blocks and two auxiliary classifiers.

Szegedy et al., "Going Deeper with Convolutions" (arXiv 1409.4842), as torchvision defines it: with batch
norm, and with 3x3 where the paper has 5x5 convolutions. In training it gives (main, aux2, aux1), else only
main. The small variant is the same network at 64x64.
"""

from __future__ import annotations

from torch import nn
from torchvision.models import googlenet

from .spec import ModelSpec, Variant


def build(classes: int) -> nn.Module:
    """The network for 3x224x224; it pools adaptively, hence takes other sizes too."""
    return googlenet(weights=None, num_classes=classes, init_weights=True)


SPECS = (
    ModelSpec(
        name="googlenet",
        source="arXiv 1409.4842",
        standard=Variant("standard", (3, 224, 224), build),
        small=Variant("small", (3, 64, 64), build),
        torchvision_name="googlenet",
    ),
)
