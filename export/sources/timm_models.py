"""`timm:NAME`: any network of timm's, with the preprocessing that timm's own configuration says."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from math import floor
from typing import Any

from torch import nn

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import MissingDependency, ModelError, WeightsError, gist
from ..models.spec import ModelSpec, Variant

PREFIX = "timm:"
SMALL_SIDE = 64


def spec(reference: str) -> ModelSpec:
    """Describe a network of timm's.

    Args:
        reference: `timm:NAME`, or `timm:NAME.TAG` with the tag of published weights.

    Raises:
        MissingDependency: timm is not installed.
        ModelError: timm knows no such network, or its configuration cannot be carried out.
    """
    timm = _timm()
    name = reference.removeprefix(PREFIX)
    if not timm.is_model(name.split(".")[0]):
        close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise ModelError(
            f"timm has no network named {name!r}.",
            available=", ".join(close),
            todo='python -c "import timm; print(timm.list_models())"',
        )
    config = _config(timm, name)
    build = partial(_build, name)
    shape = tuple(config["input_size"])
    fixed = bool(config.get("fixed_input_size", False))
    return ModelSpec(
        name=name,
        source="timm",
        standard=Variant("standard", shape, build),
        small=None if fixed else Variant("small", (shape[0], SMALL_SIDE, SMALL_SIDE), build),
        preprocess=_preprocess(config, name),
        pretrained=partial(_pretrained, name),
        classes=int(config.get("num_classes", 1000)),
    )


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise MissingDependency("timm", "timm", "A network of timm's") from error
    return timm


def _config(timm: Any, name: str) -> Mapping[str, Any]:
    """What timm's `create_transform` takes for evaluation, and what else it knows of the network.

    Raises:
        ModelError: timm knows no weights of that tag.
    """
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        network, _, tag = name.partition(".")
        raise ModelError(
            f"timm has no weights of {network} with the tag {tag!r}.",
            available=", ".join(timm.list_pretrained(f"{network}.*")),
        ) from error
    base = known.to_dict() if known is not None else {}
    resolved = timm.data.resolve_data_config(pretrained_cfg=base)
    return {**base, **resolved}


def _build(name: str, classes: int) -> nn.Module:
    return _timm().create_model(name, pretrained=False, num_classes=classes)


def _pretrained(name: str) -> nn.Module:
    """The network with timm's published weights, from its hub or from that hub's cache.

    Raises:
        WeightsError: they cannot be had.
    """
    try:
        return _timm().create_model(name, pretrained=True)
    except Exception as error:  # the hub's client and urllib raise many kinds
        raise WeightsError(
            f"timm's weights of {name} are not on this machine and cannot be downloaded.",
            got=gist(error),
            todo="download them elsewhere and give the file: --weights FILE.safetensors",
        ) from error


def _preprocess(config: Mapping[str, Any], name: str) -> Preprocess:
    """timm's evaluation transform as data.

    Raises:
        ModelError: its crop mode pads, which this preprocessing does not.
    """
    channels, height, width = config["input_size"]
    mode, share = config.get("crop_mode") or "center", float(config["crop_pct"])
    scaled = floor(height / share), floor(width / share)
    if mode == "border" or (mode == "center" and height != width):
        raise ModelError(
            f"timm prepares pictures for {name} in a way that is not known here.",
            wanted="crop_mode center with a square input, or squash",
            got=f"crop_mode {mode}, input {height}x{width}",
            todo="say how with --preprocess FILE.json, and load the network by a factory of your own",
        )
    return Preprocess(
        resize=scaled if mode == "squash" else scaled[0],
        crop=(height, width),
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        color="rgb" if channels == 3 else "gray",
    )
