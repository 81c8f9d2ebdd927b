"""What the registry knows of an architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """One way to build an architecture.

    Attributes:
        name: "standard", or "small" for data of 64 pixels and less.
        input_shape: shape of one input without the batch axis; (channels, height, width) for pictures.
        build: makes the network for a number of classes, with freshly initialised weights.
    """

    name: str
    input_shape: Shape
    build: Callable[[int], nn.Module]


@dataclass(frozen=True)
class ModelSpec:
    """An architecture by name.

    Attributes:
        name: registry name.
        source: the paper or package that defines it.
        standard: the form of the definition.
        small: the form for small pictures; None where the definition has none.
        torchvision_name: the name under which torchvision publishes ImageNet weights; None if it does not.
    """

    name: str
    source: str
    standard: Form
    small: Form | None = None
    torchvision_name: str | None = None

    def form_for(self, *, small_data: bool) -> Form:
        """The form that suits the data: the small one for small pictures, where there is one."""
        return self.small if small_data and self.small else self.standard
