"""ResNet: residual learning, in the paper's five depths.

He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), as torchvision defines them. The
small variant is the same network at 64x64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import resnet18, resnet34, resnet50, resnet101, resnet152

from .init import damp_residuals
from .spec import ModelSpec, Variant


def build(builder: Callable[..., nn.Module], classes: int) -> nn.Module:
    """The network of the paper for 3x224x224; it pools adaptively, hence takes other sizes too."""
    return damp_residuals(builder(weights=None, num_classes=classes))


SPECS = tuple(
    ModelSpec(
        name=builder.__name__,
        source="arXiv 1512.03385",
        standard=Variant("standard", (3, 224, 224), partial(build, builder)),
        small=Variant("small", (3, 64, 64), partial(build, builder)),
        torchvision_name=builder.__name__,
    )
    for builder in (resnet18, resnet34, resnet50, resnet101, resnet152)
)
