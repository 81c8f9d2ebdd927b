"""A PyTorch network as a form of a model. This module alone of its room needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.onnx_graph.depth import FloatValues, float_layers
from ...runtime.bundle.manifest import Precision
from ...runtime.tasks.base import Outputs
from ..stages.source import ExportSource
from .form import PYTORCH, Form, Layers


class NetworkForm(Form):
    """A network of PyTorch's, as an export would take it.

    Args:
        title: as it was typed.
        source: the network with its weights and its data.
    """

    precision: Precision = "fp32"
    provider = PYTORCH

    def __init__(self, title: str, source: ExportSource) -> None:
        self.title = title
        self.source = source

    def outputs(self, inputs: NDArray[Any]) -> Outputs:
        """The network's own answers."""
        return self.source.origin.answers(inputs)

    def layers(self) -> Layers:
        """What PyTorch computes at every node of the graph that its exporter makes of the network."""
        origin = self.source.origin
        example = self.source.feed.both(self.source.data.evaluation.take([0, 1]))[0]
        graph = float_layers(origin.first_model(example).model)
        known = {name: graph.values.get(name, name) for name in _floats(origin.inside(example[:1]))}

        def show(position: int, sample: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
            return origin.inside(sample)

        return Layers(FloatValues(known, graph.layers & known.keys()), lambda names: nullcontext(show))


def _floats(values: Mapping[str, NDArray[Any]]) -> list[str]:
    return [name for name, value in values.items() if np.issubdtype(value.dtype, np.floating)]
