"""From a name to an architecture."""

from __future__ import annotations

import difflib

from ...runtime.errors import ModelError
from ..models import (
    alexnet,
    googlenet,
    googlenet_5x5,
    hybridsn,
    inception_mnist,
    lenet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
    resnet_mnist,
    resnext,
    senet,
    vgg,
)
from ..models.spec import ModelSpec
from . import torchvision as from_torchvision
from . import user_factory as own

MODULES = (
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    senet,
    hybridsn,
    inception_mnist,
    resnet_mnist,
    lenet,
    alexnet,
    vgg,
    googlenet,
    googlenet_5x5,
    resnet,
    resnext,
)
SPECS = {spec.name: spec for module in MODULES for spec in module.SPECS}
ALIASES = {"mobilenet_v3": "mobilenet_v3_large"}


def find(name: str) -> ModelSpec:
    """The architecture of a registry name, an alias, a torchvision name or a user's own factory.

    Raises:
        ModelError: the name is unknown; the message offers close ones.
    """
    if ":" in name:
        return own.spec(name)
    name = ALIASES.get(name, name)
    if name in SPECS:
        return SPECS[name]
    if name in from_torchvision.names():
        return from_torchvision.spec(name)
    known = [*SPECS, *ALIASES, *from_torchvision.names()]
    close = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    raise ModelError(
        f"There is no model named {name!r}.",
        available=", ".join(dict.fromkeys(close)) or ", ".join(SPECS),
        todo="edgeproof models   (lists all; your own network is package.module:factory or file.py:factory)",
    )
