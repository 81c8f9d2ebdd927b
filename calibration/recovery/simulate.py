"""A fake-quantized graph: it computes in float, rounds as INT8 does, and its parameters can be changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from ..onnx_graph.graph import array_of, as_tensor, initializers, refuse_control_flow
from ..passes.cross_layer_equalization import channel_scales, channel_steps, clip_limit, find_pairs
from ..passes.fake_quant import fake_quantize
from ..qdq.formats import along
from ..qdq.quantized_inputs import QuantizedInput, activations
from ..qdq.weight_scales import best_scale
from ..ranges.integer_format import ACTIVATION_INT8, WEIGHT_INT8
from ..ranges.statistics import Range

NOTHING: Mapping[str, Any] = {}
BIASED = ("Conv", "Gemm")
LOWEST, HIGHEST = "edgeproof.int8.lowest", "edgeproof.int8.highest"
Floats = NDArray[np.float32]


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
    weight_scales: Mapping[str, Floats]


class QuantizedGraph:
    """A graph whose quantized inputs round as INT8 does.

    An activation becomes the nearest of the steps -128 to 127 around its offset, a weight the nearest of the
    steps -127 to 127; ties go to the even one.

    Args:
        model: the float32 graph, opset 11 or later.
        sites: its quantized inputs.
        ranges: range of each activation among them.
        limits: for the values that equalization can scale, the largest magnitude worth keeping of each
            channel, shape (C,): those channels have step sizes of their own.
        offsets: what `shift_activations` will take off the values that it can move.

    Attributes:
        reference: the float32 graph, shapes inferred as far as they can be.
        model: the fake-quantized graph; it changes with its weights and biases.
        sites: the quantized inputs.
        steps: each activation's step size by value, float32; a scalar, or one a channel.
        weights: weights in units of their own step sizes, by initializer, float32.
        weight_steps: their step sizes, one an output channel, shaped to be multiplied with the weights.
        biases: of every layer that has one, by initializer, float32.
        biased: the initializer of each layer's bias, by the layer's first output.

    Raises:
        ModelError: the graph has control flow.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        sites: Sequence[QuantizedInput],
        ranges: Mapping[str, Range],
        limits: Mapping[str, NDArray[np.floating]] = NOTHING,
        offsets: Mapping[str, float] = NOTHING,
    ) -> None:
        refuse_control_flow(model, "recovery")
        self._model = model
        self.reference = onnx.shape_inference.infer_shapes(model)
        self._offsets, self._limits = offsets, limits
        self.sites = list(sites)
        read = Counter(site.value for site in sites)
        self._pairs = [pair for pair in find_pairs(model) if pair.value in limits and read[pair.value] == 1]
        values = {name: array_of(tensor) for name, tensor in initializers(model).items()}
        self.steps: dict[str, Floats] = {}
        self.weights: dict[str, Floats] = {}
        self.weight_steps: dict[str, Floats] = {}
        for site in sites:
            if site.axis is None:
                self.steps[site.value] = ACTIVATION_INT8.grid(ranges[site.value]).scale
            elif site.value not in self.weights:
                weight = values[site.value]
                step = along(site.axis, best_scale(weight, site.axis), weight.ndim)
                self.weight_steps[site.value] = step
                self.weights[site.value] = (weight / step).astype(np.float32)
        for pair in self._pairs:
            axes = values[pair.second.input[1]].ndim
            self.steps[pair.value] = along(1, channel_steps(pair, limits[pair.value]), axes)
        self.biased = {
            node.output[0]: node.input[2]
            for node in model.graph.node
            if node.op_type in BIASED and len(node.input) > 2 and node.input[2] in values
        }
        self.biases = {name: values[name] for name in self.biased.values()}
        self.model = self.only(self.layers)

    @property
    def layers(self) -> list[str]:
        """The quantized nodes, by their first outputs, in the order of the graph."""
        quantized = {site.node for site in self.sites}
        return [node.output[0] for node in self.reference.graph.node if node.output[0] in quantized]

    def set_weight(self, name: str, integers: NDArray[np.floating], steps: Floats) -> None:
        """Change a weight.

        Args:
            name: its initializer.
            integers: the weight in units of its steps.
            steps: one an output channel, shaped to be multiplied with the weight.
        """
        self.weights[name], self.weight_steps[name] = integers.astype(np.float32), steps
        _set(self.model, rounded_name(name), self._rounded_weight(name))

    def shift_bias(self, name: str, missing: Floats) -> None:
        """Add to the bias of an initializer's name, shape (C,)."""
        self.biases[name] = self.biases[name] + missing
        _set(self.model, name, self.biases[name])

    def only(self, layers: Collection[str]) -> onnx.ModelProto:
        """The fake-quantized graph in which just these layers round."""
        sites = {(site.node, site.position): site for site in self.sites if site.node in layers}
        source = self.reference.graph
        infos = {info.name: info for info in (*source.input, *source.value_info)}
        graph = helper.make_graph(
            list(self._quantized_nodes(sites)),
            source.name,
            list(source.input),
            list(source.output),
            list(self._constants(sites)),
            value_info=[
                *source.value_info,
                *(_renamed(infos[value]) for value in activations(sites.values()) if value in infos),
            ],
        )
        return helper.make_model(
            graph, opset_imports=self.reference.opset_import, ir_version=self.reference.ir_version
        )

    def recovered(self) -> Recovered:
        """The weights and biases as a float32 graph, equalized where channels have steps of their own."""
        steps = dict(self.weight_steps)
        limits = {name: ACTIVATION_INT8.highest * step.reshape(-1) for name, step in self.steps.items()}
        values = {name: self._rounded_weight(name) for name in self.weights} | self.biases
        original = initializers(self.reference)
        for pair in self._pairs:
            stretch = channel_scales(pair, self._limits[pair.value])
            for name in pair.first.input[1:3]:  # of a layer that may stay float
                value = values[name] if name in values else array_of(original[name])
                values[name] = value * along(0, stretch, value.ndim)
            second = pair.second.input[1]
            values[second] = values[second] / along(0, stretch, values[second].ndim)
            for name, factor in ((pair.first.input[1], stretch), (second, np.reciprocal(stretch))):
                if name in steps:
                    steps[name] = steps[name] * along(0, factor, steps[name].ndim)
            limits[pair.value] = np.array([clip_limit(pair, self._limits[pair.value])])
        return Recovered(
            self._with_values(values),
            {name: Range(-float(limit[0]), float(limit[0])) for name, limit in limits.items()},
            {name: step.reshape(-1) for name, step in steps.items()},
        )

    def _quantized_nodes(self, sites: Mapping[tuple[str, int], QuantizedInput]) -> Iterator[NodeProto]:
        """The graph's nodes; before the first reader of each quantized activation those that round it."""
        rounded: set[str] = set()
        for node in self.reference.graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            for position, value in enumerate(node.input):
                site = sites.get((node.output[0], position))
                if site is None:
                    continue
                copy.input[position] = rounded_name(value)
                if site.axis is None and value not in rounded:
                    rounded.add(value)
                    yield from self._rounding(value)
            yield copy

    def _rounding(self, value: str) -> Iterator[NodeProto]:
        limits, result = (LOWEST, HIGHEST), rounded_name(value)
        if value not in self._offsets:
            yield from fake_quantize(value, result, _step(value), *limits)
            return
        yield helper.make_node("Sub", [value, _offset(value)], [f"{result}.centred"])
        yield from fake_quantize(f"{result}.centred", f"{result}.steps", _step(value), *limits)
        yield helper.make_node("Add", [f"{result}.steps", _offset(value)], [result])

    def _constants(self, sites: Mapping[tuple[str, int], QuantizedInput]) -> Iterator[TensorProto]:
        for name, tensor in initializers(self.reference).items():
            yield as_tensor(name, self.biases[name]) if name in self.biases else tensor
        for name in dict.fromkeys(site.value for site in sites.values() if site.axis is not None):
            yield as_tensor(rounded_name(name), self._rounded_weight(name))
        for value in activations(sites.values()):
            yield as_tensor(_step(value), self.steps[value])
            yield as_tensor(_offset(value), np.array(self._offsets.get(value, 0), np.float32))
        yield as_tensor(LOWEST, np.array(ACTIVATION_INT8.lowest, np.float32))
        yield as_tensor(HIGHEST, np.array(ACTIVATION_INT8.highest, np.float32))

    def _rounded_weight(self, name: str) -> Floats:
        return WEIGHT_INT8.round(self.weights[name], 1) * self.weight_steps[name]

    def _with_values(self, values: Mapping[str, Floats]) -> onnx.ModelProto:
        changed = onnx.ModelProto()
        changed.CopyFrom(self._model)
        tensors = initializers(changed)
        for name, value in values.items():
            tensors[name].CopyFrom(as_tensor(name, value))
        return changed


def rounded_name(value: str) -> str:
    """Name of what a quantized activation or weight becomes."""
    return f"{value}.rounded"


def _step(value: str) -> str:
    return f"{value}.step"


def _offset(value: str) -> str:
    return f"{value}.offset"


def _set(model: onnx.ModelProto, name: str, values: Floats) -> None:
    initializers(model)[name].CopyFrom(as_tensor(name, values))


def _renamed(info: ValueInfoProto) -> ValueInfoProto:
    renamed = ValueInfoProto()
    renamed.CopyFrom(info)
    renamed.name = rounded_name(info.name)
    return renamed
