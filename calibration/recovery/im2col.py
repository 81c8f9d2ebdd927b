"""im2col: the input of a layer as patches, one row for each place of its output.

A layer's output is then the product of these rows with its weights, written as a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import NodeProto

from ..onnx_graph.graph import groups_of

Floats = NDArray[np.float32]


def input_patches(
    node: NodeProto, value: Floats, kernel: Sequence[int], most: int, random: np.random.Generator
) -> Floats:
    """What the weights of each output channel are multiplied with, at places of the output that are drawn.

    Args:
        node: a Conv, or a Gemm or MatMul with its weight second.
        value: its first input; of a Conv shape (N, C, sides...), else (..., n).
        kernel: sides of a Conv's window; empty for others.
        most: how many places are drawn; of fewer all are taken.
        random: draws them.

    Returns:
        Shape (G, places, n): n inputs for the channels of each of G groups, in the order of the weights.
    """
    if node.op_type != "Conv":
        rows = value.reshape(-1, value.shape[-1])
        return rows[_draw(len(rows), most, random)][None]
    windows = _windows(attributes(node), value, kernel)
    sides = windows.shape[: 1 + len(kernel)]
    drawn = _draw(int(np.prod(sides)), most, random)
    patches = windows[np.unravel_index(drawn, sides)]
    return np.moveaxis(patches.reshape(len(drawn), groups_of(node), -1), 1, 0)


def weight_matrix(node: NodeProto, weight: Floats, axis: int) -> Floats:
    """The weights as rows that match `input_patches`, shape (G, channels of a group, n).

    Args:
        node: the layer.
        weight: its second input.
        axis: the axis of its output channels.
    """
    rows = np.moveaxis(weight, axis, 0)
    return rows.reshape(groups_of(node), -1, int(np.prod(rows.shape[1:])))


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes as plain values."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _windows(given: Mapping[str, Any], value: Floats, kernel: Sequence[int]) -> Floats:
    """A view of shape (N, output sides..., C, kernel...)."""
    ones = [1] * len(kernel)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    extents = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    padded = np.pad(value, [(0, 0), (0, 0), *_pads(given, value.shape[2:], extents, strides)])
    views = sliding_window_view(padded, extents, axis=tuple(range(2, value.ndim)))
    steps = [slice(None, None, step) for step in (*strides, *dilations)]
    return np.moveaxis(views[(slice(None), slice(None), *steps)], 1, 1 + len(kernel))


def _pads(
    given: Mapping[str, Any], sides: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Zeros before and after each side (ONNX's operator Conv, attributes `pads` and `auto_pad`)."""
    kind = given.get("auto_pad", b"NOTSET")
    if kind == b"NOTSET":
        pads = given.get("pads", [0] * 2 * len(sides))
        return list(zip(pads[: len(sides)], pads[len(sides) :], strict=True))
    if kind == b"VALID":
        return [(0, 0)] * len(sides)
    totals = [
        max(0, (-(-side // stride) - 1) * stride + extent - side)
        for side, extent, stride in zip(sides, extents, strides, strict=True)
    ]
    halves = [(total // 2, total - total // 2) for total in totals]
    return halves if kind == b"SAME_UPPER" else [(after, before) for before, after in halves]


def _draw(places: int, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Which places are looked at, in order."""
    if places <= most:
        return np.arange(places)
    return np.sort(random.choice(places, most, replace=False))
