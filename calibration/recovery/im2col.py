"""What a layer's weights are multiplied with: its input, a row for each place of the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import NodeProto
from torch import Tensor
from torch.nn import functional

from .network import attributes
from .operators import pads_of, torch_pads

MOST_PLACES = 16384
MOST_NUMBERS = 30_000_000  # of all places together: 240 MB in float64
SEED = 0


def meet(node: NodeProto, value: Tensor, weight: Tensor) -> Tensor:
    """The numbers that the weights of each output channel meet, at places drawn by seed.

    Args:
        node: a Conv, or a Gemm or MatMul with its weight second.
        value: its first input; of a Conv shape (N, C, sides...).
        weight: its second input.

    Returns:
        Shape (G, places, n): n inputs for the channels of each of G groups, in the order of the weights.
    """
    if node.op_type == "Conv":
        return _windows(node, value, weight)
    rows = value.flatten(0, -2)
    return rows[_drawn(len(rows), rows.shape[1])][None]


def matrix(node: NodeProto, weight: Tensor, axis: int) -> Tensor:
    """The weights as rows to be multiplied with what `meet` gives, shape (G, channels of a group, n)."""
    groups = attributes(node).get("group", 1) if node.op_type == "Conv" else 1
    rows = weight.movedim(axis, 0).flatten(1)
    return rows.reshape(groups, -1, rows.shape[1])


def _windows(node: NodeProto, value: Tensor, weight: Tensor) -> Tensor:
    given = attributes(node)
    kernel, ones = list(weight.shape[2:]), [1] * (weight.ndim - 2)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    padded = functional.pad(value, torch_pads(pads_of(given, value.shape[2:], kernel), len(kernel)))
    outputs = [
        (side - dilation * (size - 1) - 1) // stride + 1
        for side, size, stride, dilation in zip(padded.shape[2:], kernel, strides, dilations, strict=True)
    ]
    channels, taps, groups = value.shape[1], math.prod(kernel), given.get("group", 1)
    drawn = _drawn(len(value) * math.prod(outputs), channels * taps)
    sample, *corner = (torch.from_numpy(part) for part in np.unravel_index(drawn, (len(value), *outputs)))
    columns = [
        padded[(sample, slice(None), *_places(corner, strides, dilations, tap))]
        for tap in product(*map(range, kernel))
    ]
    numbers = torch.stack(columns, dim=2)  # places, channels, taps
    return numbers.reshape(len(drawn), groups, channels // groups * taps).movedim(1, 0)


def _places(
    corner: Sequence[Tensor], strides: Sequence[int], dilations: Sequence[int], tap: Sequence[int]
) -> list[Tensor]:
    return [
        at * stride + dilation * offset
        for at, stride, dilation, offset in zip(corner, strides, dilations, tap, strict=True)
    ]


def _drawn(places: int, numbers: int) -> NDArray[np.int64]:
    """Which places are looked at: all, or as many as fit in memory."""
    count = min(MOST_PLACES, max(1, MOST_NUMBERS // numbers))
    if places <= count:
        return np.arange(places)
    return np.sort(np.random.default_rng(SEED).choice(places, count, replace=False))
