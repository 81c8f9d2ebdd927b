"""torchvision's segmentation networks, and a small form of LR-ASPP for small scenes.

Howard et al. (arXiv 1905.02244) for LR-ASPP, Chen et al. (arXiv 1706.05587) for DeepLabV3, Long et al. (arXiv
1411.4038) for FCN. The small form's stem has stride 1, its backbone half the width, and what LR-ASPP takes
from the early layers it takes one stage earlier, so that thin strokes keep their edges.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision import models
from torchvision.models import mobilenet_v3_large
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.lraspp import LRASPP

from .mobilenet_v2 import with_unit_stride_stem
from .recipe import Recipe
from .spec import ModelSpec, Variant
from .wrapped import Segmenter

STANDARD_SIDE, SMALL_SIDE = 520, 64
CLASSES = 21  # of the published networks, with the background
SMALL_WIDTH = 0.5
RECIPE = Recipe(epochs=10, batch=32, rate=6e-3, shift=0)


def names() -> list[str]:
    """All names of torchvision's segmentation networks."""
    return models.list_models(module=models.segmentation)


def spec(name: str) -> ModelSpec:
    """Describe a segmentation network of torchvision's."""
    small = Variant("small", (3, SMALL_SIDE, SMALL_SIDE), partial(build_small, name))
    return ModelSpec(
        name=name,
        source="torchvision",
        standard=Variant("standard", (3, STANDARD_SIDE, STANDARD_SIDE), partial(build, name)),
        small=small,
        torchvision_name=name,
        data=("digit-scenes", "coco", "voc"),
        recipe=RECIPE,
        classes=CLASSES,
        task="segmentation",
    )


def build(name: str, classes: int) -> nn.Module:
    """The network with random weights; those with an auxiliary head keep it for training."""
    options = {} if name.startswith("lraspp") else {"aux_loss": True}
    return Segmenter(
        models.get_model(name, weights=None, weights_backbone=None, num_classes=classes, **options)
    )


def build_small(name: str, classes: int) -> nn.Module:
    """LR-ASPP for small scenes; of the other networks the network itself, which takes any size."""
    return Segmenter(_small_lraspp(classes)) if name.startswith("lraspp") else build(name, classes)


def _small_lraspp(classes: int) -> nn.Module:
    classifier: Any = with_unit_stride_stem(mobilenet_v3_large(width_mult=SMALL_WIDTH, dilated=True))
    features = classifier.features
    stages = [i for i, block in enumerate(features) if getattr(block, "_is_cn", False)]
    low, high = stages[0], len(features) - 1
    backbone = IntermediateLayerGetter(features, {str(low): "low", str(high): "high"})
    return LRASPP(backbone, features[low].out_channels, features[high].out_channels, classes)
