"""Initial weights with which neither the signal vanishes nor rounding errors grow from layer to layer."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

RESIDUAL_GAIN = 0.2

Network = TypeVar("Network", bound=nn.Module)


def initialise_he(network: Network, after: Literal["relu", "linear"] = "relu") -> Network:
    """Draw all weights as He et al. do, "Delving Deep into Rectifiers" (arXiv 1502.01852); biases are zero.

    Each layer then passes on the scale of its input, given what follows most of them: ReLU, or nothing
    (`linear`). With PyTorch's own initial weights the signal shrinks by about half in every layer, until the
    biases alone make the output.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity=after)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def damp_residuals(network: Network) -> Network:
    """Start every residual block of a torchvision ResNet near the identity.

    The last batch norm of a block begins at RESIDUAL_GAIN, much as Goyal et al. begin it at zero (arXiv
    1706.02677). With PyTorch's own initial weights a rounding error grows block by block: ResNet-152 then
    gives 2e-4 of float32 error before any training. Not zero: parity could not see the layers of a branch
    whose output is zero.
    """
    for module in network.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
            nn.init.constant_(last.get_parameter("weight"), RESIDUAL_GAIN)
    return network
