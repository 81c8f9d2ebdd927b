"""A network that the caller has in memory."""

from __future__ import annotations

import torch
from torch import nn

from ...runtime.errors import ModelError
from ..models.spec import InputShape, ModelSpec, Variant


def spec(network: nn.Module, input_shape: InputShape) -> ModelSpec:
    """Describe a network that is there already; its only variant gives that very network.

    Raises:
        ModelError: a part of it is in training mode, not on the CPU, or has weights that are not float32.
    """
    _check(network)

    def build(classes: int) -> nn.Module:
        return network

    kind = type(network)
    return ModelSpec(
        name=kind.__name__,
        source=f"{kind.__module__}.{kind.__qualname__}",
        standard=Variant("standard", input_shape, build),
        data=(),
    )


def _check(network: nn.Module) -> None:
    training = [name or "the network" for name, module in network.named_modules() if module.training]
    if training:
        raise ModelError(
            "The network is in training mode: its batch norms and dropouts would answer in another way.",
            wanted="every part in evaluation mode",
            got=f"in training mode: {_first(training)}",
            todo="network.eval()",
        )
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    elsewhere = [f"{name} on {value.device}" for name, value in tensors.items() if value.device.type != "cpu"]
    if elsewhere:
        raise ModelError(
            "The network is not on the CPU.",
            wanted="every weight on the CPU",
            got=_first(elsewhere),
            todo='network.to("cpu")',
        )
    others = [
        f"{name} is {str(value.dtype).removeprefix('torch.')}"
        for name, value in tensors.items()
        if value.is_floating_point() and value.dtype != torch.float32
    ]
    if others:
        raise ModelError(
            "The network does not compute in float32.",
            wanted="every weight in float32; lower precisions are made from it",
            got=_first(others),
            todo="network.float()",
        )


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
