"""torchvision's SSDs, and a small form of SSDLite for small scenes.

Liu et al., "SSD" (arXiv 1512.02325), and Sandler et al. (arXiv 1801.04381) for SSDLite. The small form has
one grid, with cells of 8 pixels, on the backbone of the small LR-ASPP.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead

from .recipe import Recipe
from .segmenters import small_backbone
from .spec import ModelSpec, Variant
from .wrapped import Detector

SIDES = {"ssdlite320_mobilenet_v3_large": 320, "ssd300_vgg16": 300}
SMALL_SIDE = 64
CLASSES = 90  # of the published networks, without the background
SMALL_CELL = 8  # pixels of the input
SMALL_SCALES = (0.4, 0.5)  # of an anchor's side, of the input's: for the grid, and one more
RECIPE = Recipe(epochs=3, batch=16, rate=4e-3, shift=0)


def names() -> list[str]:
    """Names of torchvision's SSDs."""
    return list(SIDES)


def spec(name: str) -> ModelSpec:
    """Describe an SSD of torchvision's."""
    side = SIDES[name]
    lite = name.startswith("ssdlite")
    return ModelSpec(
        name=name,
        source="torchvision",
        standard=Variant("standard", (3, side, side), partial(build, name)),
        small=Variant("small", (3, SMALL_SIDE, SMALL_SIDE), build_small) if lite else None,
        torchvision_name=name,
        data=("digit-scenes",),
        recipe=RECIPE,
        classes=CLASSES,
        task="detection",
    )


def build(name: str, classes: int) -> nn.Module:
    """The network with random weights.

    Args:
        name: torchvision's.
        classes: how many it tells apart, without the background.
    """
    network: Any = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
    return Detector(network)


def build_small(classes: int) -> nn.Module:
    """SSDLite for small scenes."""
    backbone = _OneGrid(small_backbone())
    anchors = DefaultBoxGenerator([[2]], scales=list(SMALL_SCALES), steps=[SMALL_CELL])
    head = SSDLiteHead([backbone.channels], anchors.num_anchors_per_location(), classes + 1, nn.BatchNorm2d)
    side = (SMALL_SIDE, SMALL_SIDE)
    return Detector(SSD(backbone, anchors, side, classes + 1, head=head))


class _OneGrid(nn.Module):
    """A backbone's last features, as the only grid of an SSD.

    Args:
        features: of the classifier.
    """

    def __init__(self, features: Any) -> None:
        super().__init__()
        self.features = features
        self.channels: int = features[-1].out_channels

    def forward(self, pictures: Tensor) -> OrderedDict[str, Tensor]:
        """The grid, shape (N, channels, height / 8, width / 8)."""
        return OrderedDict([("0", self.features(pictures))])
