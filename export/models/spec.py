"""What the registry knows of an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...runtime.bundle.preprocess import Preprocess
from .recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

InputShape = tuple[int, ...]  # of one input, without the batch axis


@dataclass(frozen=True)
class Option:
    """A hyper-parameter that the user may set with `--set NAME=VALUE`.

    Attributes:
        default: its value when it is not set; its type is the option's type.
        allowed: the values that it may have; None for any of that type.
        about: what it does, in a few words.
    """

    default: bool | int | float
    allowed: tuple[bool | int | float, ...] | None
    about: str


@dataclass(frozen=True)
class Variant:
    """One of an architecture's two sizes.

    Attributes:
        name: "standard", or "small" for data of 64 pixels and less.
        input_shape: shape of one input without the batch axis; (channels, height, width) for pictures.
        build: makes the network for a number of classes, with freshly initialised weights; the
            architecture's options are its keyword arguments.
    """

    name: str
    input_shape: InputShape
    build: Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelSpec:
    """An architecture by name.

    Attributes:
        name: registry name.
        source: the paper or package that defines it.
        standard: the variant of the definition.
        small: the variant for small pictures; None where the definition has none.
        torchvision_name: the name under which torchvision publishes ImageNet weights; None if it does not.
        options: hyper-parameters by name.
        data: names of the data sets that it is meant for, the one for demo weights first.
        recipe: how it is trained by default.
        classes: how many the published network tells apart; its published sizes are for that many.
        task: name of the task that its answers are for.
        preprocess: how pictures were prepared for its published weights; None where the data set says.
        own_weights: whether the network comes with its weights, which nothing replaces.
        pretrained: gives the network with its published weights, where torchvision does not have them.
    """

    name: str
    source: str
    standard: Variant
    small: Variant | None = None
    torchvision_name: str | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    data: tuple[str, ...] = ("digits", "fashion-mnist", "imagefolder")
    recipe: Recipe = field(default_factory=Recipe)
    classes: int = 1000
    task: str = "classification"
    preprocess: Preprocess | None = None
    own_weights: bool = False
    pretrained: Callable[[], nn.Module] | None = None

    def variant_for(self, *, small_data: bool) -> Variant:
        """The variant that suits the data: the small one for small pictures, where there is one."""
        return self.small if small_data and self.small else self.standard
