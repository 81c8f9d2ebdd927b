"""What a network costs: its parameters and its multiply-adds, counted as it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .spec import InputShape, Variant

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Cost:
    """The size of a network in evaluation.

    Attributes:
        parameters: numbers learned in the modules that run; auxiliary heads, which do not, are left out.
        multiply_adds: of the convolutions and fully connected layers, for one input.
    """

    parameters: int
    multiply_adds: int


def of_variant(variant: Variant, classes: int) -> Cost:
    """Count a variant without making its weights: on PyTorch's meta device there are only shapes."""
    with torch.device("meta"):
        return of_network(variant.build(classes), variant.input_shape)


def of_network(network: nn.Module, input_shape: InputShape) -> Cost:
    """Count a network, which is left in evaluation mode, by watching its modules take one input."""
    used: set[nn.Parameter] = set()
    multiply_adds = 0

    def watch(module: nn.Module, _: Any, output: Any) -> None:
        nonlocal multiply_adds
        used.update(module.parameters(recurse=False))
        if isinstance(module, COUNTED):
            multiply_adds += output.numel() * module.weight[0].numel()

    handles = [module.register_forward_hook(watch) for module in network.modules()]
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return Cost(sum(parameter.numel() for parameter in used), multiply_adds)
