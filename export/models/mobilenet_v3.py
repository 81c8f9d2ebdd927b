"""MobileNetV3: squeeze-and-excitation and hard-swish.

Howard et al., "Searching for MobileNetV3" (arXiv 1905.02244), as torchvision defines both sizes. The small
variant differs in one thing: its stem has stride 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import mobilenet_v3_large, mobilenet_v3_small

from .mobilenet_v2 import with_unit_stride_stem
from .spec import ModelSpec, Variant


def build(builder: Callable[..., nn.Module], classes: int) -> nn.Module:
    """The network of the paper for 3x224x224."""
    return builder(weights=None, num_classes=classes)


def build_small(builder: Callable[..., nn.Module], classes: int) -> nn.Module:
    """The network with a stride-1 stem, for pictures of 28 to 64 pixels."""
    return with_unit_stride_stem(build(builder, classes))


SPECS = tuple(
    ModelSpec(
        name=builder.__name__,
        source="arXiv 1905.02244",
        standard=Variant("standard", (3, 224, 224), partial(build, builder)),
        small=Variant("small", (3, 32, 32), partial(build_small, builder)),
        torchvision_name=builder.__name__,
    )
    for builder in (mobilenet_v3_small, mobilenet_v3_large)
)
