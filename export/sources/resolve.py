"""Does what was asked for fit together: architecture, options, data, preprocessing?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError, InputError, ModelError
from ..data import catalog
from ..data.dataset import Dataset
from ..models.spec import Form, ModelSpec, Option, Shape
from . import registry

WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Fit:
    """An architecture and a data set that go together.

    Attributes:
        spec: the architecture.
        options: its options, in their types.
        form: the form chosen, with the options and the input set.
        data: the data set.
    """

    spec: ModelSpec
    options: Mapping[str, bool | int | float]
    form: Form
    data: Dataset


def fit(
    model: str,
    data: str | None,
    form: str | None,
    options: Mapping[str, str],
    input_shape: Shape | None,
) -> Fit:
    """Find what a request names, and see that it goes together.

    Args:
        model: registry name, torchvision name, `package.module:factory` or `file.py:factory`.
        data: name of a data set, or `imagefolder:DIR`; None for the architecture's own.
        form: "standard" or "small"; None for the one that suits the data.
        options: of the architecture, as typed.
        input_shape: of one sample, instead of the form's own; None for that.

    Raises:
        EdgeproofError: something is unknown, absent, or does not fit.
    """
    spec = registry.find(model)
    values = check_options(spec, options)
    found = catalog.find(data or spec.data[0])
    chosen = configure(choose_form(spec, form, small_data=found.small), values, input_shape)
    check_data(spec, chosen, found)
    return Fit(spec, values, chosen, found)


def check_options(spec: ModelSpec, given: Mapping[str, str]) -> dict[str, bool | int | float]:
    """Turn the options as typed into values of their types.

    Raises:
        ModelError: an option that the architecture does not have, or a value that it may not take.
    """
    unknown = sorted(set(given) - set(spec.options))
    if unknown:
        raise ModelError(
            f"{spec.name} has no option {unknown[0]!r}.", available=_describe(spec.options) or "none"
        )
    return {name: _value(spec, name, text) for name, text in given.items()}


def choose_form(spec: ModelSpec, name: str | None, *, small_data: bool) -> Form:
    """The form of that name; without one, that which suits the data.

    Raises:
        ModelError: the architecture has no such form.
    """
    forms = {form.name: form for form in (spec.standard, spec.small) if form}
    if name is None:
        return spec.form_for(small_data=small_data)
    if name not in forms:
        raise ModelError(f"{spec.name} has no form named {name!r}.", available=", ".join(forms))
    return forms[name]


def configure(form: Form, options: Mapping[str, Any], input_shape: Shape | None) -> Form:
    """The form with its options set, and with another input where one was asked for."""
    form = replace(form, build=partial(form.build, **options)) if options else form
    return replace(form, input_shape=input_shape) if input_shape else form


def check_data(spec: ModelSpec, form: Form, data: Dataset) -> None:
    """Refuse samples that the network cannot take.

    Raises:
        DataError: tensors of another shape, or pictures for a network that takes tensors.
    """
    fits = form.input_shape == data.tensor_shape if data.tensor_shape else len(form.input_shape) == 3
    if not fits:
        raise DataError(
            f"{spec.name} cannot take the data set {data.name}.",
            wanted=f"samples of shape {_shape(form.input_shape)}",
            got=f"tensors of shape {_shape(data.tensor_shape)}" if data.tensor_shape else "pictures",
            available=", ".join(spec.data),
            todo=f"--data {spec.data[0]}",
        )


def check_preprocess(form: Form, preprocess: Preprocess | None) -> None:
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
    if size is None or (preprocess.channels, *size) != form.input_shape:
        raise InputError(
            "The preprocessing does not give the model's input.",
            wanted=_shape(form.input_shape),
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
            available=_describe({name: option}),
            wanted=kind.__name__,
        )
    return value


def _describe(options: Mapping[str, Option]) -> str:
    return "\n".join(
        f"{name}={'|'.join(map(str, option.allowed)) if option.allowed else type(option.default).__name__}"
        f" ({option.about}; default {option.default})"
        for name, option in options.items()
    )


def _shape(sides: tuple[object, ...]) -> str:
    return "x".join(map(str, sides))
