"""float32 to INT8 in the form that TensorRT takes: Q/DQ pairs around float operators.

Weights are symmetric per output channel, activations symmetric per tensor (zero point 0), and biases
stay float: TensorRT refuses the int32 bias that ONNX Runtime's own tool writes. The scheme is that of
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (arXiv 1712.05877), without zero points.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.errors import ModelError
from ..normalize.checks import require_per_channel, require_quantizable
from ..ranges.integer_format import ACTIVATION_INT8
from ..ranges.statistics import Range
from .quantized_inputs import LAYERS_ONLY, Placement, QuantizedInput, find_quantized_inputs
from .writer import PairWriter


def quantize_tensorrt(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    *,
    weight_scales: Mapping[str, NDArray[np.float32]] | None = None,
    keep_float: Collection[str] = (),
    placement: Placement = LAYERS_ONLY,
) -> onnx.ModelProto:
    """Quantize what `find_quantized_inputs` names: Conv, Gemm, MatMul, shortcuts, and what is placed.

    Args:
        model: a float32 model, opset 13 or later.
        ranges: the range of each value on real inputs. A node whose input has none stays float.
        weight_scales: chosen scales by the weight's name, float32, one a channel; the others reach from
            the largest magnitude of the channel.
        keep_float: first outputs of nodes that stay float.
        placement: what is done about the model's gates.

    Raises:
        ModelError: the opset has no per-channel Q/DQ, `require_quantizable` refuses the model, `keep_float`
            or `weight_scales` names what is not there, or nothing is left to quantize.
    """
    require_quantizable(model)
    require_per_channel(model)
    sites = _with_ranges(find_quantized_inputs(model, keep_float, placement), ranges)
    if not sites:
        raise ModelError(NOTHING_TO_QUANTIZE)
    written = onnx.ModelProto()
    written.CopyFrom(model)
    writer = PairWriter(written, weight_scales)
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = node.name or node.output[0]  # by which it can be reported
        for site in sites.get(node.output[0], ()):
            if site.axis is None:
                grid = ACTIVATION_INT8.grid(ranges[site.value])
                copy.input[site.position] = writer.activation(site.value, grid)
            else:
                copy.input[site.position] = writer.weight(site.value, site.axis)
        writer.add(copy)
    writer.finish()
    return written


NOTHING_TO_QUANTIZE = (
    "The model has no Conv, Gemm or MatMul to quantize: none has an initializer as weights and a known range."
)


def _with_ranges(
    sites: Collection[QuantizedInput], ranges: Mapping[str, Range]
) -> dict[str, list[QuantizedInput]]:
    """The sites of each node, without the nodes of which an input has no range."""
    unknown = {site.node for site in sites if site.axis is None and site.value not in ranges}
    found: dict[str, list[QuantizedInput]] = {}
    for site in sites:
        if site.node not in unknown:
            found.setdefault(site.node, []).append(site)
    return found
