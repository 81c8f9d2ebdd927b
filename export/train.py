"""Training: seeded, on whatever data set, as far as demo weights need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..runtime.preprocess import Preprocess
from .data.dataset import Split
from .progress import Stages
from .recipe import Recipe


def train(
    network: nn.Module, data: Split, preprocess: Preprocess | None, recipe: Recipe, stages: Stages
) -> None:
    """Train the network in place; it is left in evaluation mode.

    Auxiliary outputs (GoogLeNet's,
    Inception's) count three tenths each, as in the papers.
    """
    torch.manual_seed(recipe.seed)
    generator = np.random.default_rng(recipe.seed)
    optimizer = _optimizer(network, recipe)
    steps = -(-len(data) // recipe.batch)
    schedule = _schedule(optimizer, recipe, steps * recipe.epochs)
    network.train().to(memory_format=torch.channels_last)
    for epoch in range(recipe.epochs):
        losses = []
        batches = _shuffled_batches(data, preprocess, recipe, generator)
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
    data: Split, preprocess: Preprocess | None, recipe: Recipe, generator: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    order = generator.permutation(len(data))
    for start in range(0, len(order), recipe.batch):
        chosen = data.take(order[start : start + recipe.batch])
        inputs = torch.from_numpy(_shifted(chosen.tensor(preprocess), recipe.shift, generator))
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        yield inputs, torch.from_numpy(chosen.labels)


def _shifted(
    inputs: NDArray[np.float32], share: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    reach = round(inputs.shape[-1] * share)
    moves = generator.integers(-reach, reach + 1, size=(len(inputs), 2))
    moved = [np.roll(sample, tuple(move), axis=(-2, -1)) for sample, move in zip(inputs, moves, strict=True)]
    return np.stack(moved)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = network.parameters()
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[recipe.optimizer](parameters, lr=recipe.rate, weight_decay=recipe.weight_decay)


def _schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def _loss(outputs: torch.Tensor | tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    loss = functional.cross_entropy(main, labels)
    for output in auxiliary:
        loss = loss + 0.3 * functional.cross_entropy(output, labels)
    return loss
