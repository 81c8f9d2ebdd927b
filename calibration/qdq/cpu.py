"""float32 to INT8 in the form that runs fastest on ONNX Runtime's CPU provider.

Activations are uint8 with a zero point, weights int8 symmetric per output channel, biases int32 on the grid
of the products: then ONNX Runtime computes in integers from one operator to the next (the scheme of Jacob et
al., arXiv 1712.05877). TensorRT refuses such a graph; `quantize_tensorrt` writes the one that it takes.

On x86 processors without VNNI instructions ONNX Runtime sums two products of uint8 and int8 in 16 bits, which
may saturate. There `Session` sets ONNX Runtime's option `session.x64quantprecision`: sums are then exact, and
take longer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from ...runtime.errors import ModelError
from ..normalize.checks import require_per_channel, require_quantizable
from ..onnx_graph.graph import array_of, groups_of, initializers
from ..ranges.integer_format import ACTIVATION_UINT8, MIN_SCALE
from ..ranges.statistics import Range
from .formats import round_weight
from .integer_plan import MOVES, hard_sigmoid, plan_integers
from .lowering import lower
from .tensorrt import NOTHING_TO_QUANTIZE
from .writer import PairWriter

CHANNEL_STEP = 4  # channels that ONNX Runtime's fast integer convolution takes at a time
LARGEST_BIAS = 2.0**30  # in steps: leaves the other half of int32 to the sum of the products


def quantize_cpu(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    *,
    weight_scales: Mapping[str, NDArray[np.float32]] | None = None,
    keep_float: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantize every Conv, Gemm and MatMul with constant weights, and what lies between them.

    Args:
        model: a float32 model, opset 13 or later.
        ranges: the range of each value on real inputs. A node with an input that has none stays float.
        weight_scales: chosen scales by the weight's name, float32, one a channel; the others reach from
            the largest magnitude of the channel.
        keep_float: first outputs of nodes that stay float.

    Raises:
        ModelError: the opset has no per-channel Q/DQ, `require_quantizable` refuses the model, `keep_float`
            or `weight_scales` names what is not there, or nothing is left to quantize.
    """
    require_quantizable(model)
    require_per_channel(model)
    lowered = lower(model, ranges, keep_float)
    writer = _CpuWriter(lowered.model, lowered.ranges, weight_scales or {}, keep_float)
    for node in list(lowered.model.graph.node):
        writer.add(node)
    writer.finish()
    return lowered.model


class _CpuWriter:
    """Copies nodes one by one, with Q/DQ pairs where the plan has a grid."""

    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: Mapping[str, Range],
        weight_scales: Mapping[str, NDArray[np.float32]],
        keep_float: Collection[str],
    ) -> None:
        self._plan = plan_integers(model, ranges, keep_float)
        if not self._plan.axes:
            raise ModelError(NOTHING_TO_QUANTIZE)
        self._biases = _channel_biases(model)
        self._weights = initializers(model)
        self._made = {*self._plan.integer, *self._plan.folded}
        self._pairs = PairWriter(model, weight_scales)

    def add(self, node: NodeProto) -> None:
        output = node.output[0]
        if output in self._plan.folded:
            return
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = node.name or output  # by which it can be reported
        if output not in self._plan.integer:
            for i, name in enumerate(node.input):
                copy.input[i] = self._read(name) if name in self._made else name
            self._pairs.add(copy)
        elif output in self._plan.axes:
            self._add_weighted(copy, self._plan.axes[output])
        elif node.op_type == "HardSigmoid":
            self._add_hard_sigmoid(copy)
        else:
            moved = node.op_type in MOVES
            for i, name in enumerate(node.input[:1] if moved else node.input):
                copy.input[i] = self._read(name)
            self._pairs.add(copy)

    def finish(self) -> None:
        self._pairs.finish()

    def _read(self, name: str) -> str:
        """The value as integer nodes put it out: dequantized, or as it is where it has no grid."""
        source = self._plan.folded.get(name, name)
        if name not in self._plan.grids:
            return source
        return self._pairs.activation(name, self._plan.grids[name], source)

    def _add_weighted(self, node: NodeProto, axis: int) -> None:
        value, weight = node.input[:2]
        output, grid = node.output[0], self._plan.grids[value]
        values, scales = array_of(self._weights[weight]), self._pairs.scales(weight, axis)
        bias = self._biases.get(output)
        if bias is not None:
            scales = _wide_enough(scales, values, axis, np.abs(bias) / grid.scale)
            steps = grid.scale * scales
            integers = np.rint(bias / steps.astype(np.float64)).astype(np.int32)
            node.input[2] = self._pairs.integers(f"{output}.bias", integers, steps)
        integers = round_weight(values, axis, scales)
        extra = _missing_channels(node, values.shape)
        if extra:
            widths = [(0, extra if i == 1 else 0) for i in range(values.ndim)]
            source = self._plan.folded.get(value, value)
            node.input[0] = self._pairs.padded(value, grid, source, widths)
            integers = np.pad(integers, widths)
        else:
            node.input[0] = self._read(value)
        node.input[1] = self._pairs.integers(f"{output}.weight", integers, scales, axis)
        self._pairs.add(node)

    def _add_hard_sigmoid(self, node: NodeProto) -> None:
        """An addition whose sum saturates at 0 and at 1/slope, read as if it were from 0 to 1."""
        slope, offset = hard_sigmoid(node)
        output = node.output[0]
        constant = self._pairs.integers(
            f"{output}.offset", np.array(1, np.uint8), np.array(offset / slope, np.float32)
        )
        shifted = f"{output}.shifted"
        value = self._read(node.input[0])
        self._pairs.add(helper.make_node("Add", [value, constant], [shifted], name=node.name))
        grid = ACTIVATION_UINT8.grid(Range(0.0, 1 / slope))
        self._pairs.activation(output, grid, shifted, read_as=self._plan.grids[output])


def _wide_enough(
    scales: NDArray[np.float32], weight: NDArray[np.float32], axis: int, bias: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Scales with which the bias, in steps of the activation, fits int32; the finest for dead channels."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    finest = np.where(weight.any(axis=others), scales, MIN_SCALE)
    return np.maximum(finest, bias / LARGEST_BIAS).astype(np.float32)


def _missing_channels(node: NodeProto, weight: tuple[int, ...]) -> int:
    """How many input channels a convolution lacks for the fast kernel."""
    return -weight[1] % CHANNEL_STEP if node.op_type == "Conv" and groups_of(node) == 1 else 0


def _channel_biases(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The constant bias of each node that adds one number to each channel, by the node's first output."""
    weights = initializers(model)
    found: dict[str, NDArray[np.float32]] = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or len(node.input) < 3 or node.input[2] not in weights:
            continue
        factors = [a.f for a in node.attribute if a.name in ("alpha", "beta")]
        bias = array_of(weights[node.input[2]])
        if bias.ndim == 1 and all(factor == 1 for factor in factors):
            found[node.output[0]] = bias
    return found
