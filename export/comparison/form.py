"""A form of a model: what it answers, and what it computes on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.manifest import Precision
from ...runtime.providers.request import ProviderRequest
from ...runtime.session.session import Session, run_batched
from ...runtime.tasks.base import Outputs

if TYPE_CHECKING:
    import onnx

    from ...calibration.onnx_graph.depth import FloatValues

BATCH = 8
PYTORCH = "pytorch"  # where a network computes

Show = Callable[[int, NDArray[Any]], Mapping[str, NDArray[Any]]]  # a sample's position, and itself: (1, ...)


@dataclass(frozen=True)
class Layers:
    """What a form computes on the way.

    Attributes:
        known: its float values, and which of them are layers'.
        show: for some of their names, a function that gives these values for a sample.
    """

    known: FloatValues
    show: Callable[[Sequence[str]], AbstractContextManager[Show]]


class Form(ABC):
    """A form of a model.

    Attributes:
        title: as it was typed.
        precision: in which it computes.
        provider: where; "pytorch" for a network.
        closed: why it cannot be looked into; empty where it can.
    """

    title: str
    precision: Precision
    provider: str
    closed: str = ""

    @abstractmethod
    def outputs(self, inputs: NDArray[Any]) -> Outputs:
        """Its answers by output name, each of shape (N, ...)."""

    @abstractmethod
    def layers(self) -> Layers:
        """What it computes on the way; only where `closed` is empty."""


class ModelForm(Form):
    """An ONNX model.

    Args:
        title: as it was typed.
        model: serialized.
        request: where it runs, and in which precision it was made.
    """

    def __init__(self, title: str, model: bytes, request: ProviderRequest) -> None:
        self.title = title
        self.precision = cast(Precision, request.precision or "fp32")
        self._model = model
        self._request = request
        with Session(model, provider=request) as session:
            self.provider = session.placement.provider
            self.input_shape = session.input_shape
            self.input_dtype = session.input_dtype
        self.closed = _closed(self.provider)

    def outputs(self, inputs: NDArray[Any]) -> Outputs:
        """By ONNX Runtime."""
        with Session(self._model, provider=self._request) as session:
            size = session.fixed_batch or min(BATCH, len(inputs))
            whole = inputs[np.arange(-(-len(inputs) // size) * size) % len(inputs)]
            return {name: values[: len(inputs)] for name, values in run_batched(session, whole, size).items()}

    def layers(self) -> Layers:
        """All float values of the graph."""
        from ...calibration.onnx_graph.depth import float_layers
        from ...calibration.onnx_graph.read import parse_onnx

        model = parse_onnx(self._model, self.title)
        return Layers(float_layers(model), lambda names: _Inside(model, names, self._request))


class _Inside(AbstractContextManager[Show]):
    """A session that also puts out what is inside the graph."""

    def __init__(self, model: onnx.ModelProto, names: Sequence[str], request: ProviderRequest) -> None:
        from ...calibration.onnx_graph.graph import expose

        shown = expose(model, names).SerializeToString()
        self._session = Session(shown, optimize=False, provider=request)

    def __enter__(self) -> Show:
        return self._show

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def _show(self, position: int, sample: NDArray[Any]) -> dict[str, NDArray[Any]]:
        whole = np.repeat(sample, self._session.fixed_batch or 1, axis=0)
        return {name: values[:1] for name, values in self._session.run(whole).items()}


def _closed(provider: str) -> str:
    from importlib.util import find_spec

    from ...runtime.providers.registry import PROVIDERS

    if PROVIDERS[provider].compiles:
        return f"{provider} fuses layers, and would compute others if it had to show them"
    return "" if find_spec("onnx") else "to look into a model takes the package onnx: pip install onnx"
