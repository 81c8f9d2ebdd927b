"""Step sizes of weights by least square error, instead of by the largest magnitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from ..onnx_graph.graph import array_of, as_tensor, initializers
from .formats import along, round_weight, weight_scale
from .quantized_inputs import QuantizedInput

NARROWEST = 0.5  # share of the largest magnitude that is tried last
CANDIDATES = 32


def best_scales(model: onnx.ModelProto, sites: Iterable[QuantizedInput]) -> dict[str, NDArray[np.float32]]:
    """Step sizes of the weights among the sites, by initializer, one an output channel."""
    weights = initializers(model)
    return {
        site.value: best_scale(array_of(weights[site.value]), site.axis)
        for site in sites
        if site.axis is not None
    }


def on_grid(
    model: onnx.ModelProto, sites: Iterable[QuantizedInput], scales: Mapping[str, NDArray[np.float32]]
) -> onnx.ModelProto:
    """A float model whose weights have the values that INT8 gives them.

    Args:
        model: the float model.
        sites: its quantized inputs.
        scales: step sizes of the weights, by initializer.
    """
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    tensors = initializers(rounded)
    for site in sites:
        if site.axis is not None:
            weight, scale = array_of(tensors[site.value]), scales[site.value]
            steps = along(site.axis, scale, weight.ndim)
            integers = round_weight(weight, site.axis, scale)
            tensors[site.value].CopyFrom(as_tensor(site.value, integers.astype(np.float32) * steps))
    return rounded


def best_scale(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Step sizes of least square rounding error, one for each channel of `axis`, for integers -127..127.

    A search over clipping limits, as in Choukroun et al., "Low-bit Quantization of Neural Networks for
    Efficient Inference" (arXiv 1902.06822).
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    largest = weight_scale(weight, axis)
    best, least = largest, np.full(len(rows), np.inf)
    for share in np.linspace(1.0, NARROWEST, CANDIDATES):
        scales = (largest * share).astype(np.float32)
        error = np.square(round_weight(rows, 0, scales) * scales[:, None] - rows).sum(axis=1)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return best
