"""An ONNX graph as a PyTorch function, whose every value can be looked at and changed on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx
import torch
from onnx import NodeProto
from torch import Tensor

from ...runtime.errors import ModelError
from ..onnx_graph.graph import array_of, describe, refuse_control_flow
from .operators import OPERATORS

Change = Callable[[NodeProto, int, Tensor], Tensor]
After = Callable[[NodeProto, Tensor], Tensor]
Track = Callable[[Sequence[NodeProto]], Iterable[NodeProto]]
WITHOUT = "quantize with --recover off"


class TorchGraph:
    """Runs the nodes of a float32 graph one by one.

    Args:
        model: the graph; one input.

    Attributes:
        weights: every initializer by name, as a tensor of its own memory.

    Raises:
        ModelError: an operator is not among those that are known here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        refuse_control_flow(model, "recovery")
        for node in model.graph.node:
            if node.domain not in ("", "ai.onnx") or (
                node.op_type not in OPERATORS and node.op_type != "Constant"
            ):
                raise ModelError(
                    f"{describe(node)} cannot be simulated.",
                    available=", ".join(sorted(OPERATORS)),
                    todo=WITHOUT,
                )
        self.weights = {tensor.name: torch.tensor(array_of(tensor)) for tensor in model.graph.initializer}
        self.input = next(i.name for i in model.graph.input if i.name not in self.weights)
        self.outputs = [output.name for output in model.graph.output]
        self._nodes = [node for node in model.graph.node if node.op_type != "Constant"]
        self._given = [attributes(node) for node in self._nodes]
        self._constants = {
            node.output[0]: _constant(node) for node in model.graph.node if node.op_type == "Constant"
        }
        self._last_use = _last_uses(self._nodes)

    def run(
        self,
        x: Tensor,
        wanted: Collection[str],
        change: Change | None = None,
        after: After | None = None,
        track: Track = iter,
    ) -> dict[str, Tensor]:
        """The wanted values for one batch.

        Args:
            x: the batch, shape (N, ...).
            wanted: names of values.
            change: may replace the value at each input of each node: (node, position, value) -> value.
            after: may replace each node's value: (node, value) -> value.
            track: wraps the nodes, to show progress.

        Raises:
            ModelError: an operator is used in a way that is not known here, or a value is not computed.
        """
        values: dict[str, Tensor] = {self.input: x}
        found: dict[str, Tensor] = {name: x for name in wanted if name in values}
        for index, node in enumerate(track(self._nodes)):
            if len(found) == len(set(wanted)):
                break
            value = self._compute(index, node, self._inputs(node, values, change))
            value = after(node, value) if after else value
            values[node.output[0]] = value
            if node.output[0] in wanted:
                found[node.output[0]] = value
            for name in self._last_use.get(index, ()):
                values.pop(name, None)
        missing = [name for name in wanted if name not in found]
        if missing:
            raise ModelError(f"The graph does not compute {', '.join(missing)}.")
        return found

    def _compute(self, index: int, node: NodeProto, inputs: list[Tensor | None]) -> Tensor:
        try:
            return OPERATORS[node.op_type](inputs, self._given[index])
        except NotImplementedError as error:
            raise ModelError(f"{describe(node)} cannot be simulated: {error}.", todo=WITHOUT) from error

    def _inputs(
        self, node: NodeProto, values: Mapping[str, Tensor], change: Change | None
    ) -> list[Tensor | None]:
        inputs: list[Tensor | None] = []
        for position, name in enumerate(node.input):
            value = values[name] if name in values else self._fixed(name)
            inputs.append(change(node, position, value) if change and value is not None else value)
        return inputs

    def _fixed(self, name: str) -> Tensor | None:
        if not name:
            return None
        return self.weights[name] if name in self.weights else self._constants[name]


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as plain values."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _constant(node: NodeProto) -> Tensor:
    value = next(iter(attributes(node).values()))
    return torch.tensor(array_of(value) if isinstance(value, onnx.TensorProto) else value)


def _last_uses(nodes: list[NodeProto]) -> dict[int, list[str]]:
    """After which node each value is needed no more."""
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    dying: dict[int, list[str]] = {}
    for name, index in last.items():
        dying.setdefault(index, []).append(name)
    return dying
