"""Values of a graph with any number of inputs, computed by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from ...runtime.errors import ModelError
from ...runtime.providers.cpu import CPU
from ...runtime.providers.request import ProviderRequest
from ...runtime.session.options import create_cpu_session, session_options
from ...runtime.session.session import load_onnxruntime


class Evaluator:
    """Computes a graph on the CPU.

    Args:
        model: the graph; its inputs may be fewer than the values that it is given.

    Attributes:
        outputs: names of what it computes.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        ort = load_onnxruntime()
        options = session_options(ort, ProviderRequest(), CPU)
        self._session = create_cpu_session(ort, model.SerializeToString(), options)
        self._inputs = [info.name for info in model.graph.input]
        self.outputs = [info.name for info in model.graph.output]

    def run(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name.

        Args:
            values: the graph's inputs by name; others among them are left alone.

        Raises:
            ModelError: ONNX Runtime failed while it ran.
        """
        try:
            found = self._session.run(self.outputs, {name: values[name] for name in self._inputs})
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"ONNX Runtime failed while it computed {self.outputs}: {error}") from error
        return dict(zip(self.outputs, found, strict=True))
