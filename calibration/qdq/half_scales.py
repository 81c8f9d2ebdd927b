"""Step sizes of weights that float16 holds in full: its smallest numbers have few digits left.

Below 2^-14 float16 has no more than a multiple of 2^-24, and some processors take such numbers for zero. A
channel of weights that small gets the step size 2^-14, and its integers are moved there: what is lost is less
than float16 loses of activations near 1.
"""

from __future__ import annotations

import numpy as np
import onnx

from ..onnx_graph.graph import array_of, as_tensor, initializers, reader_counts

HALF_NORMAL = float(np.finfo(np.float16).smallest_normal)
MOST_LOST = 1e-3  # of a tensor's power: where more is lost, it is left as it is, for float32 holds it


def lift_scales(model: onnx.ModelProto) -> None:
    """Bring the weights' step sizes to 2^-14 or more, in place, where little of the weights is lost by that.

    Args:
        model: with weights as integers behind DequantizeLinear, which alone reads them.
    """
    tensors, readers = initializers(model), reader_counts(model)
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or not set(node.input[:2]) <= tensors.keys():
            continue
        if max(readers[name] for name in node.input[:2]) > 1:
            continue
        integers, scales = (array_of(tensors[name]) for name in node.input[:2])
        lifted = np.maximum(scales, np.float32(HALF_NORMAL))
        if np.array_equal(lifted, scales):
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if scales.ndim and i == axis % integers.ndim else 1 for i in range(integers.ndim)]
        exact = integers * (scales / lifted).reshape(shape)
        moved = np.rint(exact).astype(integers.dtype)
        power = np.sum(np.square(exact * lifted.reshape(shape)))
        if np.sum(np.square((moved - exact) * lifted.reshape(shape))) > MOST_LOST * power:
            continue
        for name, values in zip(node.input, (moved, lifted), strict=False):
            tensors[name].CopyFrom(as_tensor(name, values))
