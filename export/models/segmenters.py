"""torchvision's segmentation networks, and a small form of LR-ASPP for small scenes.

Howard et al. (arXiv 1905.02244) for LR-ASPP, Chen et al. (arXiv 1706.05587) for DeepLabV3, Long et al. (arXiv
1411.4038) for FCN. The small form's backbone has half the width, its last two stages keep the resolution of
the one before, and its early features are those before the second stage: thin strokes keep their edges.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision import models
from torchvision.models import mobilenet_v3_large
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation.lraspp import LRASPP

from .recipe import Recipe
from .spec import ModelSpec, Variant
from .wrapped import Segmenter

STANDARD_SIDE, SMALL_SIDE = 520, 64
CLASSES = 21  # of the published networks, with the background
SMALL_WIDTH = 0.5
RESIDUAL_SHARE = 0.1  # Goyal et al. (arXiv 1706.02677) begin with 0, where nothing of a block would be seen
RECIPE = Recipe(epochs=3, batch=16, rate=5e-3, weight_decay=0.05, shift=0)


def names() -> list[str]:
    """All names of torchvision's segmentation networks."""
    return models.list_models(module=models.segmentation)


def spec(name: str) -> ModelSpec:
    """Describe a segmentation network of torchvision's."""
    return ModelSpec(
        name=name,
        source="torchvision",
        standard=Variant("standard", (3, STANDARD_SIDE, STANDARD_SIDE), partial(build, name)),
        small=Variant("small", (3, SMALL_SIDE, SMALL_SIDE), partial(build_small, name)),
        torchvision_name=name,
        data=("digit-scenes",),
        recipe=RECIPE,
        classes=CLASSES,
        task="segmentation",
    )


def build(name: str, classes: int) -> nn.Module:
    """The network with random weights; those with an auxiliary head keep it for training."""
    options = {} if name.startswith("lraspp") else {"aux_loss": True}
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=classes, **options)
    for block in network.modules():
        if isinstance(block, Bottleneck):
            last: Any = block.bn3
            nn.init.constant_(last.weight, RESIDUAL_SHARE)
    return Segmenter(network)


def build_small(name: str, classes: int) -> nn.Module:
    """LR-ASPP for small scenes; of the other networks the network itself, which takes any size."""
    return Segmenter(_small_lraspp(classes)) if name.startswith("lraspp") else build(name, classes)


def small_backbone() -> nn.Sequential:
    """MobileNetV3-large's features at half the width; the last two stages keep the resolution before them."""
    classifier: Any = mobilenet_v3_large(width_mult=SMALL_WIDTH)
    features: nn.Sequential = classifier.features
    for index in stages(features)[-2:]:
        for layer in features[index].modules():
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                layer.stride = (1, 1)
    return features


def stages(features: nn.Sequential) -> list[int]:
    """Positions of the blocks with which a stage begins."""
    return [i for i, block in enumerate(features) if getattr(block, "_is_cn", False)]


def _small_lraspp(classes: int) -> nn.Module:
    features = small_backbone()
    channels: list[Any] = list(features)
    low, high = stages(features)[0] - 1, len(features) - 1
    backbone = IntermediateLayerGetter(features, {str(low): "low", str(high): "high"})
    return LRASPP(backbone, channels[low].out_channels, channels[high].out_channels, classes)
