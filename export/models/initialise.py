"""Initialisation that keeps the signal alive through networks without batch norm."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def initialise_he(network: Network, after: Literal["relu", "linear"] = "relu") -> Network:
    """Draw all weights as He et al. do, "Delving Deep into Rectifiers" (arXiv 1502.01852); biases are zero.

    Each layer then passes on the scale of its input, given what follows most of them: ReLU, or nothing
    (`linear`). With PyTorch's own start the signal shrinks by about half in every layer, until the biases
    alone make the output.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity=after)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
