"""From a name to an architecture."""

from __future__ import annotations

import difflib
from pathlib import Path

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
from ..models.torch_file import TORCH_FILES, not_a_model
from . import program, timm_models
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
TORCHVISION_PREFIX = "torchvision:"
ALIASES = {"mobilenet_v3": "mobilenet_v3_large"}


def find(name: str) -> ModelSpec:
    """The architecture of a registry name, an alias, a torchvision name or a user's own factory.

    Raises:
        ModelError: the name is unknown; the message offers close ones.
    """
    if name.startswith(timm_models.PREFIX):
        return timm_models.spec(name)
    if name.startswith(TORCHVISION_PREFIX):
        name = name.removeprefix(TORCHVISION_PREFIX)
        return from_torchvision.spec(_known(name, from_torchvision.names()))
    if name.lower().endswith(program.SUFFIX):
        return program.spec(Path(name).expanduser())
    if Path(name).suffix.lower() in TORCH_FILES:
        raise not_a_model(Path(name))
    if ":" in name or name.endswith(".py"):
        return own.spec(name)
    lower = name.lower()  # so are all names here
    lower = ALIASES.get(lower, lower)
    if lower in SPECS:
        return SPECS[lower]
    return from_torchvision.spec(_known(name, [*SPECS, *ALIASES, *from_torchvision.names()]))


def _known(name: str, known: list[str]) -> str:
    """The name, if it is known.

    Raises:
        ModelError: it is not; the message offers close ones.
    """
    if name.lower() in known:
        return name.lower()
    close = difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.5)
    raise ModelError(
        f"There is no model named {name!r}.",
        available=", ".join(dict.fromkeys(close)) or ", ".join(SPECS),
        todo="edgeproof models   (lists all; your own network is package.module:factory or file.py:factory, "
        "an ONNX file, or timm:NAME)",
    )
