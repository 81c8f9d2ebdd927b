"""Training: seeded, on whatever data set, as far as demo weights need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..runtime.preprocess import Preprocess
from .data.dataset import Split
from .progress import Stages

MAX_SHIFT = 1 / 16  # of the picture's side: handwriting and clothes are never perfectly centred


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the training pictures.
        batch: pictures a step.
        rate: highest learning rate of AdamW; it rises and falls over the run (one-cycle policy, Smith
            and Topin, arXiv 1708.07120).
        weight_decay: AdamW's decoupled weight decay.
        seed: of initialisation, order and shifts.
    """

    epochs: int = 9
    batch: int = 64
    rate: float = 3e-3
    weight_decay: float = 0.02
    seed: int = 0

    def describe(self) -> dict[str, float]:
        """The recipe as plain numbers, for the manifest and the cache's key."""
        return asdict(self)


def train(network: nn.Module, data: Split, preprocess: Preprocess, recipe: Recipe, stages: Stages) -> None:
    """Train the network in place; it is left in evaluation mode.

    Pictures are shifted at random by up to 1/16 of their side. Auxiliary outputs (GoogLeNet's,
    Inception's) count three tenths each, as in the papers.
    """
    torch.manual_seed(recipe.seed)
    generator = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    steps = -(-len(data) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps * recipe.epochs)
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(recipe.epochs):
        losses = []
        batches = _shuffled_batches(data, preprocess, recipe.batch, generator)
        for inputs, labels in stages.track(batches, steps, f"epoch {epoch + 1} of {recipe.epochs}"):
            optimizer.zero_grad()
            loss = _loss(network(inputs), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        stages.note(f"epoch {epoch + 1} of {recipe.epochs}: loss {np.mean(losses):.3f}")
    network.to(memory_format=torch.contiguous_format)
    settle_batch_norm(network, data.batches(preprocess, recipe.batch))


def settle_batch_norm(network: nn.Module, batches: Iterable[NDArray[np.float32]]) -> None:
    """Set the running statistics of every batch norm to their true mean over the batches.

    MobileNetV3's batch norms move by a hundredth a step, so after a short training their running statistics
    still hold the initial values. This is the precise batch norm of Wu and Johnson (arXiv 2105.07576). The
    network is left in evaluation mode.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
    network.train()
    with torch.no_grad():
        for batch in batches if norms else ():
            network(torch.from_numpy(batch))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def predict(network: nn.Module, inputs: NDArray[np.float32], batch: int = 64) -> NDArray[np.float32]:
    """The first output of a network in evaluation mode, shape (N, classes)."""
    with torch.inference_mode():
        pieces = [network(torch.from_numpy(inputs[i : i + batch])) for i in range(0, len(inputs), batch)]
    return torch.cat(pieces).numpy()


def _shuffled_batches(
    data: Split, preprocess: Preprocess, size: int, generator: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = generator.permutation(len(data))
    for start in range(0, len(order), size):
        chosen = data.take(order[start : start + size])
        shifted = _shift(chosen.tensor(preprocess), generator)
        inputs = torch.from_numpy(shifted)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        yield inputs, torch.from_numpy(chosen.labels)


def _shift(inputs: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    reach = round(inputs.shape[-1] * MAX_SHIFT)
    moves = generator.integers(-reach, reach + 1, size=(len(inputs), 2))
    shifted = [
        np.roll(picture, tuple(move), axis=(-2, -1)) for picture, move in zip(inputs, moves, strict=True)
    ]
    return np.stack(shifted)


def _loss(outputs: torch.Tensor | tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = functional.cross_entropy(main, labels)
    for output in auxiliary:
        loss = loss + 0.3 * functional.cross_entropy(output, labels)
    return loss
