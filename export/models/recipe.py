"""How a network is trained, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """A way to train.

    Attributes:
        epochs: passes over the training samples.
        batch: samples a step.
        optimizer: "adamw" (decoupled weight decay), "adam" or "sgd".
        rate: learning rate; with the one-cycle schedule its highest value.
        schedule: "one-cycle" (rises and falls over the run; Smith and Topin, arXiv 1708.07120) or "constant".
        momentum: of SGD; the others keep PyTorch's own.
        weight_decay: the optimizer's weight decay.
        shift: inputs of shape (channels, height, width) are rolled at random by up to this share of their
            width, as pictures may be; 0 for none.
        seed: of initialisation, order and shifts.
    """

    epochs: int = 9
    batch: int = 64
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: float = 3e-3
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    momentum: float = 0.9
    weight_decay: float = 0.02
    shift: float = 1 / 16
    seed: int = 0
