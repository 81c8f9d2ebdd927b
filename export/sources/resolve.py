"""From what a request names to an architecture and a data set that go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError, InputError, ModelError
from ..data import catalog
from ..data.dataset import Dataset
from ..models.spec import InputShape, ModelSpec, Option, Variant
from . import live_module, registry

CHANNELS = (1, 3)  # of pictures
CLASSIFICATION = "classification"
WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class ResolvedRequest:
    """A request whose parts are found: an architecture and a data set that go together.

    Attributes:
        spec: the architecture.
        options: its options, in their types.
        variant: the variant chosen, with the options and the input set.
        data: the data set.
    """

    spec: ModelSpec
    options: Mapping[str, bool | int | float]
    variant: Variant
    data: Dataset


def resolve(
    model: str | nn.Module,
    data: str | Dataset | None,
    variant: str | None,
    options: Mapping[str, str],
    input_shape: InputShape | None,
    preprocess: Preprocess | None = None,
    task: str | None = None,
) -> ResolvedRequest:
    """Find what a request names, and see that it goes together.

    Args:
        model: registry name, torchvision name, `package.module:factory` or `file.py:factory`; or a network.
        data: name of a data set, or `imagefolder:DIR`; None for the architecture's own; or a data set.
        variant: "standard" or "small"; None for the one that suits the data.
        options: of the architecture, as typed.
        input_shape: of one sample, instead of the variant's own; None for that.
        preprocess: that of the request, which tells the input of a network in memory; None for none.
        task: name of the task for which truths are wanted; None for the architecture's own.

    Raises:
        EdgeproofError: something is unknown, absent, or does not fit.
    """
    if isinstance(model, nn.Module):
        found = _data_of_module(data, task)
        spec = live_module.spec(model, input_shape or _module_input(found, preprocess))
    else:
        spec = registry.find(model)
        if data is None and not spec.data:
            raise InputError(
                f"{spec.name} has no data set of its own.",
                available=", ".join(catalog.NAMES),
                todo="--data imagefolder:DIR, or another of these",
            )
        found = data if isinstance(data, Dataset) else catalog.find(data or spec.data[0], task or spec.task)
    values = check_options(spec, options)
    chosen = configure(choose_variant(spec, variant, small_data=found.small), values, input_shape)
    check_data(spec, chosen, found)
    return ResolvedRequest(spec, values, chosen, found)


def _data_of_module(data: str | Dataset | None, task: str | None) -> Dataset:
    if data is None:
        raise InputError(
            "A network that is given as a module has no data set of its own.",
            wanted="`data`: a Dataset, or a data set's name",
            available=", ".join(catalog.NAMES),
            todo="data=array_dataset(...)",
        )
    return data if isinstance(data, Dataset) else catalog.find(data, task or CLASSIFICATION)


def _module_input(data: Dataset, preprocess: Preprocess | None) -> InputShape:
    """The input of a network in memory, from its tensors or from the preprocessing of its pictures."""
    if data.tensor_shape:
        return data.tensor_shape
    if preprocess and preprocess.size:
        return (preprocess.channels, *preprocess.size)
    raise InputError(
        "A network does not tell the size of its input.",
        wanted="`input_shape`, or `preprocess` with a `crop` or a (height, width) to resize to",
        todo="input_shape=(3, 224, 224)",
    )


def check_options(spec: ModelSpec, given: Mapping[str, str]) -> dict[str, bool | int | float]:
    """Turn the options as typed into values of their types.

    Raises:
        ModelError: an option that the architecture does not have, or a value that it may not take.
    """
    unknown = sorted(set(given) - set(spec.options))
    if unknown:
        raise ModelError(
            f"{spec.name} has no option {unknown[0]!r}.", available=_option_lines(spec.options) or "none"
        )
    return {name: _value(spec, name, text) for name, text in given.items()}


def choose_variant(spec: ModelSpec, name: str | None, *, small_data: bool) -> Variant:
    """The variant of that name; without one, that which suits the data.

    Raises:
        ModelError: the architecture has no such variant.
    """
    variants = {variant.name: variant for variant in (spec.standard, spec.small) if variant}
    if name is None:
        return spec.variant_for(small_data=small_data)
    if name not in variants:
        raise ModelError(f"{spec.name} has no variant named {name!r}.", available=", ".join(variants))
    return variants[name]


def configure(variant: Variant, options: Mapping[str, Any], input_shape: InputShape | None) -> Variant:
    """The variant with its options set, and with another input where one was asked for."""
    variant = replace(variant, build=partial(variant.build, **options)) if options else variant
    return replace(variant, input_shape=input_shape) if input_shape else variant


def check_data(spec: ModelSpec, variant: Variant, data: Dataset) -> None:
    """Refuse samples that the network cannot take.

    Raises:
        DataError: tensors of another shape, or pictures for a network that takes tensors, or other channels
            than pictures have.
    """
    if not data.tensor_shape and len(variant.input_shape) == 3 and variant.input_shape[0] not in CHANNELS:
        last = variant.input_shape[-1]
        turned = (last, *variant.input_shape[:-1]) if last in CHANNELS else ("C", "H", "W")
        raise DataError(
            f"Pictures are no inputs of shape {_shape(variant.input_shape)}.",
            wanted="1 or 3 channels, and these first: CxHxW",
            todo=f"--input {_shape(turned)}",
        )
    fits = variant.input_shape == data.tensor_shape if data.tensor_shape else len(variant.input_shape) == 3
    if not fits:
        raise DataError(
            f"{spec.name} cannot take the data set {data.name}.",
            wanted=f"samples of shape {_shape(variant.input_shape)}",
            got=f"tensors of shape {_shape(data.tensor_shape)}" if data.tensor_shape else "pictures",
            available=", ".join(spec.data),
            todo=f"--data {spec.data[0]}" if spec.data else "give samples of that shape",
        )


def check_preprocess(variant: Variant, preprocess: Preprocess | None) -> None:
    """Refuse preprocessing whose result is not the network's input.

    Raises:
        InputError: channels, height or width differ, or depend on the picture; or it gives pixels.
    """
    if preprocess is None:
        return
    if preprocess.dtype != "float32":
        raise InputError(
            "The preprocessing is not the training's: it gives pixels, not normalized.",
            wanted='"dtype": "float32" and "layout": "NCHW"',
            got=f'"dtype": "{preprocess.dtype}" and "layout": "{preprocess.layout}"',
            todo="mend the file of --preprocess; --uint8-input makes a model that takes pixels",
        )
    size = preprocess.size
    if size is None or (preprocess.channels, *size) != variant.input_shape:
        raise InputError(
            "The preprocessing does not give the model's input.",
            wanted=_shape(variant.input_shape),
            got=_shape((preprocess.channels, *(size or ("?", "?")))),
            todo="give the input with --input CxHxW, or other preprocessing with --preprocess FILE.json",
        )


def _value(spec: ModelSpec, name: str, text: str) -> bool | int | float:
    option = spec.options[name]
    kind = type(option.default)
    try:
        value = WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        value = None
    if value is None or (option.allowed is not None and value not in option.allowed):
        raise ModelError(
            f"{spec.name} cannot have {name}={text}.",
            available=_option_lines({name: option}),
            wanted=kind.__name__,
        )
    return value


def _option_lines(options: Mapping[str, Option]) -> str:
    return "\n".join(
        f"{name}={'|'.join(map(str, option.allowed)) if option.allowed else type(option.default).__name__}"
        f" ({option.about}; default {option.default})"
        for name, option in options.items()
    )


def _shape(sides: tuple[object, ...]) -> str:
    return "x".join(map(str, sides))
