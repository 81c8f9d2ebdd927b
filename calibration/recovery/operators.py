"""ONNX operators as PyTorch functions (ONNX operator specification, opset 13 on)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Inputs = Sequence[Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], Tensor]


def _conv(inputs: Inputs, given: Attributes) -> Tensor:
    x, weight, bias = _three(inputs)
    spatial = weight.ndim - 2
    x, padding = _padded(x, given, list(weight.shape[2:]), 0.0)
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[spatial - 1]
    stride, dilation = given.get("strides", [1] * spatial), given.get("dilations", [1] * spatial)
    return function(x, weight, bias, stride, padding, dilation, given.get("group", 1))


def _gemm(inputs: Inputs, given: Attributes) -> Tensor:
    a, b, c = _three(inputs)
    a = a.transpose(0, 1) if given.get("transA") else a
    b = b.transpose(0, 1) if given.get("transB") else b
    product = given.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + given.get("beta", 1.0) * c


def _batch_norm(inputs: Inputs, given: Attributes) -> Tensor:
    x, scale, bias, mean, variance = inputs[:5]
    return functional.batch_norm(
        _some(x), _some(mean), _some(variance), scale, bias, eps=given.get("epsilon", 1e-5)
    )


def _max_pool(inputs: Inputs, given: Attributes) -> Tensor:
    spatial = len(given["kernel_shape"])
    x, padding = _padded(_some(inputs[0]), given, given["kernel_shape"], -torch.inf)
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[spatial - 1]
    return function(
        x,
        given["kernel_shape"],
        given.get("strides", [1] * spatial),
        padding,
        given.get("dilations", [1] * spatial),
        ceil_mode=bool(given.get("ceil_mode", 0)),
    )


def _average_pool(inputs: Inputs, given: Attributes) -> Tensor:
    kernel = given["kernel_shape"]
    spatial = len(kernel)
    pads = pads_of(given, _some(inputs[0]).shape[2:], kernel)
    if pads[:spatial] != pads[spatial:]:
        raise NotImplementedError("AveragePool with uneven padding")
    function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[spatial - 1]
    return function(
        _some(inputs[0]),
        kernel,
        given.get("strides", [1] * spatial),
        pads[:spatial],
        ceil_mode=bool(given.get("ceil_mode", 0)),
        count_include_pad=bool(given.get("count_include_pad", 0)),
    )


def _global_pool(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def _reduce_mean(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    axes = given.get("axes") or (_integers(inputs[1]) if len(inputs) > 1 else list(range(x.ndim)))
    return x.mean(dim=tuple(axes), keepdim=bool(given.get("keepdims", 1)))


def _clip(inputs: Inputs, given: Attributes) -> Tensor:
    low = inputs[1] if len(inputs) > 1 else given.get("min")
    high = inputs[2] if len(inputs) > 2 else given.get("max")
    return torch.clamp(_some(inputs[0]), low, high)


def _reshape(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    shape = _integers(inputs[1])
    if not given.get("allowzero"):
        shape = [x.shape[i] if side == 0 else side for i, side in enumerate(shape)]
    return x.reshape(shape)


def _flatten(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    axis = given.get("axis", 1) % (x.ndim + 1)
    return x.reshape(int(torch.tensor(x.shape[:axis]).prod()), -1)


def _squeeze(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    axes = given.get("axes") or (_integers(inputs[1]) if len(inputs) > 1 else None)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    axes = given.get("axes") or _integers(inputs[1])
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    return x.permute(given.get("perm") or list(range(x.ndim))[::-1])


def _shape(inputs: Inputs, given: Attributes) -> Tensor:
    sides = list(_some(inputs[0]).shape)
    return torch.tensor(sides[given.get("start", 0) : given.get("end", len(sides))])


def _gather(inputs: Inputs, given: Attributes) -> Tensor:
    x, index = _some(inputs[0]), _some(inputs[1])
    axis = given.get("axis", 0) % x.ndim
    taken = x.index_select(axis, index.reshape(-1) % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _slice(inputs: Inputs, given: Attributes) -> Tensor:
    x, starts, ends = _some(inputs[0]), _integers(inputs[1]), _integers(inputs[2])
    axes = _integers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else list(range(len(starts)))
    steps = _integers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept = range(x.shape[axis])[start:end:step]
        x = x.index_select(axis, torch.tensor(list(kept), dtype=torch.int64))
    return x


def _cast(inputs: Inputs, given: Attributes) -> Tensor:
    kinds = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64, 9: torch.bool}
    return _some(inputs[0]).to(kinds[given["to"]])


def _pad(inputs: Inputs, given: Attributes) -> Tensor:
    x = _some(inputs[0])
    pads = given.get("pads") or _integers(inputs[1])
    if given.get("mode", b"constant") != b"constant" or len(inputs) > 3:
        raise NotImplementedError("Pad other than constant over all axes")
    value = float(_some(inputs[2])) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return functional.pad(x, torch_pads(pads, x.ndim), value=value)


def pads_of(given: Attributes, sides: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Zeros that a window operator puts around its input: all begins, then all ends.

    Args:
        given: its attributes.
        sides: of the input, without batch and channels.
        kernel: sides of the window.
    """
    kind = given.get("auto_pad", b"NOTSET")
    if kind == b"NOTSET":
        return list(given.get("pads", [0] * 2 * len(kernel)))
    if kind == b"VALID":
        return [0] * 2 * len(kernel)
    ones = [1] * len(kernel)
    strides, dilations = given.get("strides", ones), given.get("dilations", ones)
    totals = [
        max(0, (-(-side // stride) - 1) * stride + dilation * (size - 1) + 1 - side)
        for side, size, stride, dilation in zip(sides, kernel, strides, dilations, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return less + more if kind == b"SAME_UPPER" else more + less


def _padded(x: Tensor, given: Attributes, kernel: Sequence[int], value: float) -> tuple[Tensor, list[int]]:
    """The input padded where torch cannot do it in the operator, and the padding that is left to that."""
    spatial = len(kernel)
    pads = pads_of(given, x.shape[2:], kernel)
    if pads[:spatial] == pads[spatial:]:
        return x, pads[:spatial]
    return functional.pad(x, torch_pads(pads, spatial), value=value), [0] * spatial


def torch_pads(pads: Sequence[int], axes: int) -> list[int]:
    """ONNX's paddings, all begins and then all ends, in torch's order: the last axis first."""
    return [pads[side * axes + axis] for axis in reversed(range(axes)) for side in (0, 1)]


def _three(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor | None]:
    return _some(inputs[0]), _some(inputs[1]), inputs[2] if len(inputs) > 2 else None


def _some(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("an input that the operator needs is missing")
    return value


def _integers(value: Tensor | None) -> list[int]:
    return [int(element) for element in _some(value).reshape(-1).tolist()]


def _of_one(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda inputs, given: function(_some(inputs[0]))


def _of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda inputs, given: function(_some(inputs[0]), _some(inputs[1]))


OPERATORS: Mapping[str, Operator] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _of_two(torch.matmul),
    "BatchNormalization": _batch_norm,
    "Relu": _of_one(functional.relu),
    "LeakyRelu": lambda inputs, given: functional.leaky_relu(_some(inputs[0]), given.get("alpha", 0.01)),
    "Elu": lambda inputs, given: functional.elu(_some(inputs[0]), given.get("alpha", 1.0)),
    "PRelu": lambda inputs, given: torch.where(
        _some(inputs[0]) >= 0, _some(inputs[0]), _some(inputs[1]) * _some(inputs[0])
    ),
    "Sigmoid": _of_one(torch.sigmoid),
    "Tanh": _of_one(torch.tanh),
    "Erf": _of_one(torch.erf),
    "Sqrt": _of_one(torch.sqrt),
    "Exp": _of_one(torch.exp),
    "Gelu": lambda inputs, given: functional.gelu(
        _some(inputs[0]), approximate=given.get("approximate", b"none").decode()
    ),
    "HardSwish": _of_one(functional.hardswish),
    "HardSigmoid": lambda inputs, given: torch.clamp(
        given.get("alpha", 0.2) * _some(inputs[0]) + given.get("beta", 0.5), 0, 1
    ),
    "Clip": _clip,
    "Softmax": lambda inputs, given: functional.softmax(_some(inputs[0]), given.get("axis", -1)),
    "LogSoftmax": lambda inputs, given: functional.log_softmax(_some(inputs[0]), given.get("axis", -1)),
    "Add": _of_two(torch.add),
    "Sub": _of_two(torch.sub),
    "Mul": _of_two(torch.mul),
    "Div": _of_two(torch.div),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "ReduceMean": _reduce_mean,
    "Concat": lambda inputs, given: torch.cat([_some(value) for value in inputs], given["axis"]),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Cast": _cast,
    "Pad": _pad,
    "Identity": _of_one(lambda x: x),
    "Dropout": _of_one(lambda x: x),
}
