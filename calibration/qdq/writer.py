"""Writing Q/DQ pairs into a graph: each value is quantized once, whoever reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from ...runtime.errors import ModelError
from ..onnx_graph.graph import array_of, as_tensor, initializers
from ..ranges.integer_format import IntegerGrid
from .formats import checked_scales, round_weight, weight_scale


class PairWriter:
    """Collects the nodes and the initializers of the new graph, in order.

    Args:
        model: the model that is rewritten, in place, by `finish`.
        weight_scales: scales of weights that were chosen, by the weight's name, float32, one a channel.

    Raises:
        ModelError: scales are given for a weight that the model does not have.
    """

    def __init__(
        self, model: onnx.ModelProto, weight_scales: Mapping[str, NDArray[np.float32]] | None = None
    ) -> None:
        self._graph = model.graph
        self._weights = initializers(model)
        self._scales = weight_scales or {}
        self._nodes: list[NodeProto] = []
        self._new: dict[str, TensorProto] = {}
        self._quantized: dict[str, str] = {}
        self._dequantized: dict[str, str] = {}
        unknown = [name for name in self._scales if name not in self._weights]
        if unknown:
            raise ModelError(
                "Scales are given for weights that the model does not have.", got=", ".join(unknown)
            )

    def add(self, node: NodeProto) -> None:
        """Append a node as it is."""
        self._nodes.append(node)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an initializer, and return its name."""
        self._new[name] = as_tensor(name, values)
        return name

    def activation(
        self, name: str, grid: IntegerGrid, source: str = "", read_as: IntegerGrid | None = None
    ) -> str:
        """The dequantized twin of a value.

        Args:
            name: the value, after which the pair is named.
            grid: what it is quantized to.
            source: the value to quantize where that is another.
            read_as: the grid by which the integers are read where that is another.
        """
        if name not in self._dequantized:
            integers = self._quantize(name, grid, source or name)
            reading = self._parameters(f"{name}.read", read_as) if read_as else self._parameters(name, grid)
            self._dequantize(name, integers, reading)
        return self._dequantized[name]

    def padded(self, name: str, grid: IntegerGrid, source: str, widths: Sequence[tuple[int, int]]) -> str:
        """The dequantized twin of a value with zeros put around it.

        Args:
            name: the value, after which the pair is named.
            grid: what it is quantized to.
            source: the value to quantize.
            widths: how many zeros before and after, for each axis.
        """
        key = f"{name}.padded"
        if key not in self._dequantized:
            integers = self._quantize(name, grid, source)
            parameters = self._parameters(name, grid)
            pads = self.constant(f"{key}.pads", np.array(widths, np.int64).T.ravel())
            quantized = f"{key}.{grid.zero_point.dtype.name}"
            inputs = [integers, pads, parameters[1]]
            self._nodes.append(helper.make_node("Pad", inputs, [quantized], name=f"pad/{name}"))
            self._dequantize(key, quantized, parameters)
        return self._dequantized[key]

    def weight(self, name: str, axis: int) -> str:
        """The dequantized twin of a weight, int8 with one scale a channel of `axis`."""
        key = f"{name}.axis{axis}"
        if key not in self._dequantized:
            scales = self.scales(name, axis)
            self.integers(key, round_weight(array_of(self._weights[name]), axis, scales), scales, axis)
        return self._dequantized[key]

    def scales(self, name: str, axis: int) -> NDArray[np.float32]:
        """The scale of each channel of a weight: the chosen one, or that of its largest magnitude."""
        weight = array_of(self._weights[name])
        if name in self._scales:
            return checked_scales(name, np.asarray(self._scales[name]), weight.shape[axis])
        return weight_scale(weight, axis)

    def integers(self, key: str, values: NDArray[Any], scales: NDArray[np.float32], axis: int = 0) -> str:
        """The dequantized twin of integers that are known beforehand, with one scale, or one a channel."""
        grid = IntegerGrid(scales, np.zeros(scales.shape, values.dtype))
        name = self.constant(f"{key}.{values.dtype.name}", values)
        axes = {"axis": axis} if scales.ndim else {}
        self._dequantize(key, name, self._parameters(key, grid), **axes)
        return self._dequantized[key]

    def finish(self) -> None:
        """Put the new nodes into the model, with the initializers that they read."""
        used = {name for node in self._nodes for name in node.input}
        used |= {output.name for output in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        self._graph.ClearField("initializer")
        self._graph.initializer.extend([*copies, *self._new.values()])
        self._graph.ClearField("node")
        self._graph.node.extend(self._nodes)

    def _quantize(self, name: str, grid: IntegerGrid, source: str) -> str:
        if name not in self._quantized:
            self._quantized[name] = f"{name}.{grid.zero_point.dtype.name}"
            inputs, outputs = [source, *self._parameters(name, grid)], [self._quantized[name]]
            self._nodes.append(helper.make_node("QuantizeLinear", inputs, outputs, name=f"quantize/{name}"))
        return self._quantized[name]

    def _dequantize(self, key: str, quantized: str, parameters: list[str], **attributes: Any) -> None:
        self._dequantized[key] = f"{key}.dequantized"
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [quantized, *parameters],
                [self._dequantized[key]],
                name=f"dequantize/{key}",
                **attributes,
            )
        )

    def _parameters(self, key: str, grid: IntegerGrid) -> list[str]:
        return [
            self.constant(f"{key}.scale", grid.scale),
            self.constant(f"{key}.zero_point", grid.zero_point),
        ]
