"""The INT8 graph, simulated in float with everything that rounding depends on in the open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor

from ..onnx_graph.graph import as_tensor, initializers
from ..passes.cross_layer_equalization import factors, find_pairs, reach
from ..qdq.formats import MIN_SCALE, QMAX, symmetric_int8
from ..qdq.quantized_inputs import Site
from ..qdq.weight_scales import best_scale
from ..ranges.statistics import Range
from .network import After, TorchGraph, Track

QMIN = -QMAX - 1
NOTHING: Mapping[str, Any] = {}
BIASED = ("Conv", "Gemm")
Seen = Callable[[NodeProto, Tensor], None]


@dataclass(frozen=True)
class Recovered:
    """What the writer of the INT8 graph needs.

    Attributes:
        model: the float32 graph with the weights that INT8 gives, and the corrected biases.
        ranges: range of each quantized activation.
        weight_scales: step sizes of the weights, one an output channel, by initializer.
    """

    model: onnx.ModelProto
    ranges: Mapping[str, Range]
    weight_scales: Mapping[str, NDArray[np.float32]]


class QuantizedGraph:
    """A graph whose quantized sites round as INT8 does.

    Args:
        model: the float32 graph.
        sites: its quantized inputs.
        ranges: range of each activation among them.
        limits: for the values that equalization can scale, the largest magnitude worth keeping of each
            channel, shape (C,): those channels have step sizes of their own.
        offsets: what `recenter` will take off the values that it can move.

    Attributes:
        steps: each activation's step size, by value; a scalar, or one a channel.
        weights: weights in units of their own step sizes, by initializer.
        weight_steps: their step sizes, one an output channel, shaped to be multiplied with the weights.
        biases: of every layer that has one, by initializer.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        sites: Sequence[Site],
        ranges: Mapping[str, Range],
        limits: Mapping[str, NDArray[np.floating]] = NOTHING,
        offsets: Mapping[str, float] = NOTHING,
    ) -> None:
        self._model = model
        self._offsets = offsets
        self._graph = TorchGraph(model)
        self._sites = {(site.node, site.position): site for site in sites}
        read = Counter(site.value for site in sites)
        self._pairs = [pair for pair in find_pairs(model) if pair.value in limits and read[pair.value] == 1]
        self.steps: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}
        self.weight_steps: dict[str, Tensor] = {}
        for site in sites:
            if site.axis is None:
                self.steps[site.value] = torch.tensor(symmetric_int8(ranges[site.value]).scale)
            elif site.value not in self.weights:
                weight = self._graph.weights[site.value]
                step = _broadcast(
                    torch.from_numpy(best_scale(weight.numpy(), site.axis)), weight.ndim, site.axis
                )
                self.weight_steps[site.value] = step
                self.weights[site.value] = weight / step
        for pair in self._pairs:
            step = np.maximum(
                reach(pair, limits[pair.value]) / factors(pair, limits[pair.value]) / QMAX, MIN_SCALE
            )
            axes = self._graph.weights[pair.second.input[1]].ndim
            self.steps[pair.value] = _broadcast(torch.from_numpy(step.astype(np.float32)), axes, 1)
        self.biases = {
            node.input[2]: self._graph.weights[node.input[2]]
            for node in model.graph.node
            if node.op_type in BIASED and len(node.input) > 2
            if node.input[2] in self._graph.weights
        }

    @property
    def layers(self) -> list[str]:
        """The quantized nodes, by their first outputs, in the order of the graph."""
        return list(dict.fromkeys(node for node, _ in self._sites))

    def only(self, layers: Collection[str]) -> QuantizedGraph:
        """The same graph and parameters, with just these layers quantized."""
        part = copy(self)
        part._sites = {place: site for place, site in self._sites.items() if site.node in layers}
        return part

    def run(
        self,
        x: Tensor,
        wanted: Collection[str],
        seen: Seen | None = None,
        after: After | None = None,
        track: Track = iter,
    ) -> dict[str, Tensor]:
        """The wanted values for one batch, all sites rounded.

        Args:
            x: the batch, shape (N, ...).
            wanted: names of values.
            seen: is told what each activation site makes of its value, before the weights are looked up:
                (node, value).
            after: may replace each node's value, as in TorchGraph.
            track: wraps the nodes, to show progress.
        """

        def change(node: NodeProto, position: int, value: Tensor) -> Tensor:
            rounded = self._round(node, position, value)
            if seen and rounded is not value and position == 0:
                seen(node, rounded)
            return rounded

        return self._graph.run(x, wanted, change, after, track)

    def recovered(self) -> Recovered:
        """The weights and biases as a float32 graph, equalized where channels have steps of their own."""
        weights = {name: weight.round().clamp(-QMAX, QMAX) for name, weight in self.weights.items()}
        steps = dict(self.weight_steps)
        biases = dict(self.biases)
        limits = {name: QMAX * step.reshape(-1).numpy() for name, step in self.steps.items()}
        values = {name: weight * steps[name] for name, weight in weights.items()} | biases
        for pair in self._pairs:
            stretch = torch.from_numpy(factors(pair, limits[pair.value]))
            for name in pair.first.input[1:3]:  # of a layer that may stay float
                value = values.get(name, self._graph.weights[name])
                values[name] = value * _broadcast(stretch, value.ndim, 0)
            second = pair.second.input[1]
            values[second] = values[second] / _broadcast(stretch, values[second].ndim, 0)
            for name, factor in ((pair.first.input[1], stretch), (second, stretch.reciprocal())):
                if name in steps:
                    steps[name] = steps[name] * _broadcast(factor, steps[name].ndim, 0)
            limits[pair.value] = np.array([reach(pair, limits[pair.value])])
        return Recovered(
            _with_values(self._model, {name: value.numpy() for name, value in values.items()}),
            {name: Range(-float(limit[0]), float(limit[0])) for name, limit in limits.items()},
            {name: step.reshape(-1).numpy() for name, step in steps.items()},
        )

    def _round(self, node: NodeProto, position: int, value: Tensor) -> Tensor:
        site = self._sites.get((node.output[0], position))
        if site is None:
            return value
        if site.axis is None:
            step, offset = self.steps[site.value], self._offsets.get(site.value, 0.0)
            return ((value - offset) / step).round_().clamp_(QMIN, QMAX).mul_(step).add_(offset)
        return self.weights[site.value].round().clamp_(-QMAX, QMAX).mul_(self.weight_steps[site.value])


def _with_values(model: onnx.ModelProto, values: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensors = initializers(changed)
    for name, value in values.items():
        tensors[name].CopyFrom(as_tensor(name, value))
    return changed


def _broadcast(steps: Tensor, axes: int, axis: int) -> Tensor:
    return steps.reshape([-1 if i == axis else 1 for i in range(axes)])
