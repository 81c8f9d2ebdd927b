"""Any classifier, segmenter and SSD of torchvision, by torchvision's name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models

from ..models import detectors, segmenters
from ..models.spec import ModelSpec, Variant

SMALL_SIDE = 64
DEFAULT_SIDE = 224


def names() -> list[str]:
    """All names of torchvision's classifiers, segmenters and SSDs."""
    return [*models.list_models(module=models), *segmenters.names(), *detectors.names()]


def spec(name: str) -> ModelSpec:
    """Describe a torchvision model; its input size is that of its published weights.

    Networks that pool adaptively also take small pictures as they are; their small variant is the same
    network at 64x64. The others have none.
    """
    for heads in (segmenters, detectors):
        if name in heads.names():
            return heads.spec(name)

    def build(classes: int) -> nn.Module:
        return models.get_model(name, weights=None, num_classes=classes)

    side = _native_side(name)
    small = Variant("small", (3, SMALL_SIDE, SMALL_SIDE), build)
    return ModelSpec(
        name=name,
        source="torchvision",
        standard=Variant("standard", (3, side, side), build),
        small=small if _pools_adaptively(build(10)) else None,
        torchvision_name=name,
    )


def default_weights(name: str) -> Any:
    """The best of torchvision's published weights for a model: a member of its WeightsEnum."""
    return models.get_model_weights(name)["DEFAULT"]


def _native_side(name: str) -> int:
    crop = getattr(default_weights(name).transforms(), "crop_size", [DEFAULT_SIDE])
    return crop[0]


def _pools_adaptively(network: nn.Module) -> bool:
    import torch

    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, SMALL_SIDE, SMALL_SIDE))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True
