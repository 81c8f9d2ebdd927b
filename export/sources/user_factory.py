"""The user's own network: `package.module:factory` or `path/to/file.py:factory`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ...runtime.errors import ModelError
from ..models.spec import InputShape, ModelSpec, Variant

SMALL_SHAPE: InputShape = (3, 32, 32)
STANDARD_SHAPE: InputShape = (3, 224, 224)


def spec(reference: str) -> ModelSpec:
    """Describe the network that a factory makes. The factory's code is imported, hence run.

    A factory with a parameter `num_classes` is given the number of classes; another is called bare.

    Raises:
        ModelError: the module or the factory cannot be found or imported.
    """
    place, colon, attribute = reference.rpartition(":")
    if not colon:
        place, attribute = reference, ""
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    factory = getattr(module, attribute, None) if attribute else None
    if not callable(factory):
        own = _factories(module)
        raise ModelError(
            f"{place} has no factory named {attribute!r}." if attribute else f"{place} names no factory.",
            wanted=reference if attribute else f"{place}:factory",
            available=", ".join(own) or "no function or class of its own",
            todo=f"edgeproof export {place}:{own[0]} ..." if own else "",
        )

    def build(classes: int) -> nn.Module:
        return _call(factory, reference, classes)

    return ModelSpec(
        name=attribute,
        source=reference,
        standard=Variant("standard", STANDARD_SHAPE, build),
        small=Variant("small", SMALL_SHAPE, build),
    )


def _factories(module: ModuleType) -> list[str]:
    """Names that may be factories: the module's own functions, then its own classes."""
    own = [
        (inspect.isclass(value), name)
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and getattr(value, "__module__", "") == module.__name__
    ]
    return [name for _, name in sorted(own)]


def _call(factory: Callable[..., Any], reference: str, classes: int) -> nn.Module:
    arguments = {"num_classes": classes} if _takes_classes(factory) else {}
    try:
        network = factory(**arguments)
    except Exception as error:  # the user's code may raise anything
        raise ModelError(f"The factory {reference} failed: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The factory {reference} does not give a network.",
            wanted="torch.nn.Module",
            got=type(network).__name__,
        )
    return network


def _takes_classes(factory: Callable[..., Any]) -> bool:
    parameters = inspect.signature(factory).parameters.values()
    return any(p.name == "num_classes" for p in parameters)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"There is no file {path}.", wanted="path/to/file.py:factory")
    found = importlib.util.spec_from_file_location(f"edgeproof_user_{path.stem}", path)
    if found is None or found.loader is None:
        raise ModelError(f"{path} is not a Python file that can be imported.")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    with _Neighbours(path.parent):
        try:
            found.loader.exec_module(module)
        except Exception as error:  # the user's code may raise anything
            raise ModelError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _import_module(name: str) -> ModuleType:
    with _Neighbours(Path.cwd()):
        try:
            return importlib.import_module(name)
        except Exception as error:  # the user's code may raise anything
            raise ModelError(
                f"The module {name!r} cannot be imported: {type(error).__name__}: {error}",
                todo="install it, or start in the folder that holds it",
            ) from error


class _Neighbours:
    """Lets the user's code import what stands beside it, as when it is run as a script."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder.absolute())

    def __enter__(self) -> None:
        sys.path.insert(0, self._folder)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self._folder)
