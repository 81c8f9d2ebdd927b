"""Which nodes of a graph ONNX Runtime's CPU provider can compute in integers, and on which grids.

ONNX Runtime replaces an operator between Q/DQ pairs by its integer kernel, and drops pairs on the same grid
around an operator that only moves values. A pair that it cannot use so costs time, and a pair that is
missing leaves a float island; therefore the plan follows the values from one integer kernel to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import NodeProto

from ..onnx_graph.graph import activation_limits, initializers, reader_counts
from ..ranges.integer_format import ACTIVATION_UINT8, IntegerGrid
from ..ranges.statistics import Range
from .quantized_inputs import find_quantized_inputs

KERNELS = {"Add", "Mul", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "Concat", "HardSigmoid"}
MOVES = {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"}
FLOAT_OUTPUT = {"Gemm", "MatMul"}  # their integer kernels can put out float


@dataclass
class IntegerPlan:
    """What `plan_integers` found.

    Attributes:
        axes: the weight's output-channel axis of each Conv, Gemm and MatMul in integers, by first output.
        integer: first outputs of all nodes in integers, in order, those named in `axes` included.
        folded: activations that the quantization of their input makes superfluous: output to input.
        grids: the grid of each value that is quantized.
    """

    axes: dict[str, int] = field(default_factory=dict)
    integer: dict[str, NodeProto] = field(default_factory=dict)
    folded: dict[str, str] = field(default_factory=dict)
    grids: dict[str, IntegerGrid] = field(default_factory=dict)


def plan_integers(
    model: onnx.ModelProto, ranges: Mapping[str, Range], keep_float: Collection[str] = ()
) -> IntegerPlan:
    """Find the nodes to compute in integers, and the grid of each value between them.

    Args:
        model: a float32 model, lowered to operators that have integer kernels where that is possible.
        ranges: the range of each value on real inputs. A node with an input that has none stays float.
        keep_float: first outputs of nodes that stay float.
    """
    planner = _Planner(model, ranges, keep_float)
    for node in model.graph.node:
        planner.visit(node)
    planner.drop_dead_ends()
    planner.assign_grids()
    return planner.plan


class _Planner:
    def __init__(
        self, model: onnx.ModelProto, ranges: Mapping[str, Range], keep_float: Collection[str]
    ) -> None:
        self.plan = IntegerPlan()
        self._nodes = list(model.graph.node)
        self._ranges = dict(ranges)
        self._keep_float = keep_float
        self._weights = initializers(model)
        self._outputs = {output.name for output in model.graph.output}
        self._readers = reader_counts(model)
        self._axes = {
            site.node: site.axis for site in find_quantized_inputs(model, keep_float) if site.axis is not None
        }
        self._made: set[str] = set()  # values that integer nodes put out

    def visit(self, node: NodeProto) -> None:
        output = node.output[0]
        if output in self._axes and node.input[0] in self._ranges:
            self.plan.axes[output] = self._axes[output]
            self._take(node)
        elif output in self._keep_float or output in self._outputs:
            return
        elif self._can_fold(node):
            self.plan.folded[output] = node.input[0]
            self._made.add(output)
        elif self._has_kernel(node) or (node.op_type in MOVES and self._moves_integers(node)):
            self._take(node)

    def drop_dead_ends(self) -> None:
        """Leave to float what only float nodes read: quantizing it would cost accuracy and save nothing."""
        alive = {name for output in self.plan.axes for name in self.plan.integer[output].input}
        for output, node in reversed(list(self.plan.integer.items())):
            if output in self.plan.axes or self._reached(output) & alive:
                alive.update(node.input)
            else:
                del self.plan.integer[output]
        self._alive = alive

    def assign_grids(self) -> None:
        for output, node in self.plan.integer.items():
            for name in node.input[:1] if node.op_type in MOVES or output in self.plan.axes else node.input:
                if name not in self._weights:
                    self._assign(name)
            if node.op_type in MOVES:
                self.plan.grids[output] = self.plan.grids[node.input[0]]
            elif node.op_type == "HardSigmoid":
                self.plan.grids[output] = ACTIVATION_UINT8.grid(Range(0.0, 1.0))
            elif output not in self._outputs and not self._stays_float(output, node):
                self._assign(self._end(output))

    def _take(self, node: NodeProto) -> None:
        self.plan.integer[node.output[0]] = node
        if node.output[0] in self._ranges or node.op_type in MOVES:
            self._made.add(node.output[0])

    def _assign(self, name: str) -> None:
        if name not in self.plan.grids and name in self._ranges:
            self.plan.grids[name] = ACTIVATION_UINT8.grid(self._ranges[name])

    def _stays_float(self, output: str, node: NodeProto) -> bool:
        return node.op_type in FLOAT_OUTPUT and not self._reached(output) & self._alive

    def _end(self, output: str) -> str:
        """The value that is quantized for a node's output: that of the activation folded into it, if any."""
        return next((name for name, source in self.plan.folded.items() if source == output), output)

    def _reached(self, output: str) -> set[str]:
        return {output, self._end(output)}

    def _has_kernel(self, node: NodeProto) -> bool:
        """Whether there is an integer kernel, its output has a range, and all its inputs are integers."""
        if node.op_type not in KERNELS or node.output[0] not in self._ranges:
            return False
        if node.op_type == "HardSigmoid" and min(hard_sigmoid(node)) <= 0:
            return False
        return all(name in self._made for name in node.input)

    def _moves_integers(self, node: NodeProto) -> bool:
        return node.input[0] in self._made and len([name for name in node.output if name]) == 1

    def _can_fold(self, node: NodeProto) -> bool:
        """Whether saturation does what the activation does: the grid's ends lie within its bounds."""
        limits = activation_limits(node, self._weights)
        source = node.input[0] if node.input else ""
        if limits is None or source not in self.plan.integer:
            return False
        if self._readers[source] != 1 or self.plan.integer[source].op_type in MOVES | {"HardSigmoid"}:
            return False
        if node.output[0] not in self._ranges:
            return False
        found, output = self._ranges[node.output[0]], node.output[0]
        lower, upper = limits
        self._ranges[output] = Range(max(found.low, lower), min(found.high, upper))
        grid = ACTIVATION_UINT8.grid(self._ranges[output])
        slack = grid.scale / 2
        lowest = -float(grid.zero_point) * grid.scale
        highest = (ACTIVATION_UINT8.highest - float(grid.zero_point)) * grid.scale
        return bool(lowest >= lower - slack and highest <= upper + slack)


def hard_sigmoid(node: NodeProto) -> tuple[float, float]:
    """Slope and offset of a HardSigmoid."""
    attributes = {attribute.name: attribute.f for attribute in node.attribute}
    return attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
