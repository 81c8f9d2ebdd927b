"""torchvision's SSDs, and a small form of SSDLite for small scenes.

Liu et al., "SSD" (arXiv 1512.02325), and Sandler et al. (arXiv 1801.04381) for SSDLite. The small form's
stem has stride 1, its backbone half the width, and its two grids have cells of 8 and 16 pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision import models
from torchvision.models import mobilenet_v3_large
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead

from .mobilenet_v2 import with_unit_stride_stem
from .recipe import Recipe
from .spec import ModelSpec, Variant
from .wrapped import Detector

SIDES = {"ssdlite320_mobilenet_v3_large": 320, "ssd300_vgg16": 300}
SMALL_SIDE = 64
CLASSES = 90  # of the published networks, without the background
SMALL_WIDTH = 0.5
SMALL_SCALES = (0.3, 0.45, 0.6)  # of an anchor's side, of the input's: one a grid, and one more
RECIPE = Recipe(epochs=10, batch=32, rate=4e-3, shift=0)


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
        data=("digit-scenes", "coco", "voc"),
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
    return Detector(network, SIDES[name])


def build_small(classes: int) -> nn.Module:
    """SSDLite for small scenes."""
    classifier: Any = with_unit_stride_stem(mobilenet_v3_large(width_mult=SMALL_WIDTH))
    backbone = _Grids(classifier.features)
    ratios = [[2] for _ in backbone.channels]
    anchors = DefaultBoxGenerator(ratios, scales=list(SMALL_SCALES))
    head = SSDLiteHead(backbone.channels, anchors.num_anchors_per_location(), classes + 1, nn.BatchNorm2d)
    side = (SMALL_SIDE, SMALL_SIDE)
    return Detector(SSD(backbone, anchors, side, classes + 1, head=head), SMALL_SIDE)


class _Grids(nn.Module):
    """MobileNetV3's features at two resolutions, as torchvision's SSDLite takes them.

    Args:
        features: of the classifier; the first is what the last stage's expansion sees.
    """

    def __init__(self, features: Any) -> None:
        super().__init__()
        stages = [i for i, block in enumerate(features) if getattr(block, "_is_cn", False)]
        cut = stages[-1]
        self.fine = nn.Sequential(*features[:cut], features[cut].block[0])
        self.coarse = nn.Sequential(features[cut].block[1:], *features[cut + 1 :])
        self.channels: list[int] = [features[cut].block[0].out_channels, features[-1].out_channels]

    def forward(self, pictures: Tensor) -> OrderedDict[str, Tensor]:
        """The fine grid and the coarse one."""
        fine = self.fine(pictures)
        return OrderedDict([("0", fine), ("1", self.coarse(fine))])
