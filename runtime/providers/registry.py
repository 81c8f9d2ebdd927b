"""Every execution provider, in the order in which `auto` tries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .base import ExecutionProvider
from .cpu import CPU
from .cuda import CUDA
from .tensorrt import TENSORRT

PROVIDERS: Mapping[str, ExecutionProvider] = {provider.name: provider for provider in (TENSORRT, CUDA, CPU)}
AUTO = "auto"


def candidates(name: str) -> Sequence[ExecutionProvider]:
    """The providers to try for a request, in order: from the named one on, or all of them for `auto`.

    Args:
        name: of a provider, or AUTO.
    """
    providers = tuple(PROVIDERS.values())
    return providers if name == AUTO else providers[list(PROVIDERS).index(name) :]


def names_of(able: Callable[[ExecutionProvider], bool]) -> tuple[str, ...]:
    """Names of the providers that can do something."""
    return tuple(name for name, provider in PROVIDERS.items() if able(provider))
