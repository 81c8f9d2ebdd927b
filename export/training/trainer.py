"""Training: one seeded loop, for demo weights and for `edgeproof train`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import WeightsError
from ..data.dataset import Split, seeded_subset
from ..models.recipe import Recipe
from ..models.wrapped import task_of
from .objectives import objective_of
from .samples import Samples, batches, cut, prepare

BATCH_NORM_SAMPLES = 4096  # the statistics of batch norms are taken from at most so many samples
EVALUATION_BATCH = 64


def train(
    network: nn.Module, data: Split, preprocess: Preprocess | None, recipe: Recipe, progress: Progress
) -> None:
    """Train the network in place; it is left on the CPU and in evaluation mode."""
    trainer = Trainer(network, prepare(data, preprocess, progress), recipe)
    while trainer.epoch < recipe.epochs:
        stats = trainer.train_epoch(progress)
        progress.note(f"epoch {trainer.epoch} of {recipe.epochs}: loss {stats.loss:.3f}")
    trainer.settle_batch_norm()
    trainer.release()


@dataclass(frozen=True)
class EpochStats:
    """Of one epoch: the mean loss of the main output, and the learning rate of the last step."""

    loss: float
    rate: float


class Trainer:
    """Trains a network, one epoch at a time; `state` holds all that changes on the way.

    It uses CUDA where there is a GPU. On the CPU the same seed gives the same weights.

    Args:
        network: is trained in place.
        samples: to train on.
        recipe: optimizer, learning rate, schedule, augmentation and seed.
    """

    def __init__(self, network: nn.Module, samples: Samples, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self._generator = np.random.default_rng(recipe.seed)
        self._samples = samples
        self._recipe = recipe
        shape = samples.shape
        self._pictures = len(shape) == 3
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        if self._pictures:
            self.network.to(memory_format=torch.channels_last)
        self._steps = len(cut(np.arange(len(samples)), recipe.batch))
        self._optimizer = _optimizer(network, recipe)
        self._objective = objective_of(self.network, shape)
        self._schedule = _schedule(self._optimizer, recipe, self._steps * recipe.epochs)
        self.epoch = 0

    def train_epoch(self, progress: Progress) -> EpochStats:
        """Train for one epoch.

        Raises:
            WeightsError: the loss is no finite number any more.
        """
        self.network.train()
        losses: list[float] = []
        rate = 0.0
        title = f"epoch {self.epoch + 1} of {self._recipe.epochs}"
        for inputs, truths in progress.track(self._batches(), self._steps, title):
            self._optimizer.zero_grad()
            reported, loss = self._objective.loss(self.network(inputs), truths)
            losses.append(reported.item())
            loss.backward()
            rate = float(self._optimizer.param_groups[0]["lr"])
            self._optimizer.step()
            self._schedule.step()
        self.epoch += 1
        stats = EpochStats(float(np.mean(losses)), rate)
        if not math.isfinite(stats.loss):
            raise WeightsError(
                f"The training diverged in epoch {self.epoch}.",
                wanted="a finite loss",
                got=f"{stats.loss}, at a highest learning rate of {self._recipe.rate:g}",
                todo="train with a lower rate: edgeproof train ... --rate RATE --fresh",
            )
        return stats

    def settle_batch_norm(self) -> None:
        """Set the statistics of batch norms to those of the training samples, or of a seeded subset."""
        chosen = seeded_subset(len(self._samples), BATCH_NORM_SAMPLES)
        settle_batch_norm(self.network, batches(self._samples, chosen, self._recipe.batch))

    def release(self) -> None:
        """Bring the network back to the CPU and to the usual order in memory."""
        self.network.to("cpu")
        if self._pictures:
            self.network.to(memory_format=torch.contiguous_format)

    def state(self) -> dict[str, Any]:
        """All that a trainer of the same network, samples and recipe needs to go on from here."""
        return {
            "model": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epoch": self.epoch,
            "order": json.dumps(self._generator.bit_generator.state),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state` gave."""
        self.network.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self.epoch = state["epoch"]
        self._generator.bit_generator.state = json.loads(state["order"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and len(state["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["random_cuda"])

    def _batches(self) -> Iterator[tuple[Tensor, Sequence[Any]]]:
        order = self._generator.permutation(len(self._samples))
        for positions in cut(order, self._recipe.batch):
            # A copy in torch's own, aligned memory: MKL's last bits depend on the alignment.
            inputs = torch.tensor(self._samples.read(positions), device=self.device)
            if self._pictures:
                if not self._samples.placed:  # a truth with a place would have to move along
                    inputs = _shifted(inputs, self._recipe.shift, self._generator)
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            yield inputs, [self._samples.truths[i] for i in positions]


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
            network(torch.from_numpy(batch).to(_device(network)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def predict(
    network: nn.Module, inputs: NDArray[np.float32], batch: int = EVALUATION_BATCH
) -> NDArray[np.float32]:
    """The first output of a network in evaluation mode, shape (N, classes)."""
    device = _device(network)
    with torch.inference_mode():
        starts = range(0, len(inputs), batch)
        pieces = [network(torch.from_numpy(inputs[i : i + batch]).to(device)).cpu() for i in starts]
    return torch.cat(pieces).numpy()


@dataclass(frozen=True)
class HeldOutStats:
    """A network's mean loss and its task's metric, in percent, on samples that it was not trained on."""

    loss: float
    metric: str
    score: float


def evaluate_network(network: nn.Module, samples: Samples) -> HeldOutStats:
    """Evaluate a network in evaluation mode, with one batch of samples in memory at a time."""
    task, objective = task_of(network, samples.shape), objective_of(network, samples.shape)
    measure, judged = task.metric, task.for_metric()
    if measure is None:
        raise AssertionError("each task that is trained for has a metric")
    counts: list[Any] = []
    losses: list[float] = []
    for positions in cut(np.arange(len(samples)), EVALUATION_BATCH):
        outputs = _answers(network, samples.read(positions))
        truths = [samples.truths[i] for i in positions]
        reported, _ = objective.loss(tuple(output.double() for output in outputs), truths)
        losses.append(float(reported) * len(positions))
        named = {str(i): output.numpy() for i, output in enumerate(outputs)}
        counts += map(measure.count, truths, judged.decode(named))
    return HeldOutStats(sum(losses) / len(samples), measure.name, measure.value(counts) or 0.0)


def _answers(network: nn.Module, inputs: NDArray[np.float32]) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        found = network(torch.from_numpy(inputs).to(_device(network)))
    return tuple(output.cpu() for output in (found if isinstance(found, tuple) else (found,)))


def _device(network: nn.Module) -> torch.device:
    first = next(network.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _shifted(inputs: Tensor, share: float, generator: np.random.Generator) -> Tensor:
    """Each picture rolled by its own number of rows and columns, up to a share of the width."""
    count, _, height, width = inputs.shape
    reach = round(width * share)
    if not reach:
        return inputs
    moves = torch.from_numpy(generator.integers(-reach, reach + 1, size=(count, 2))).to(inputs.device)
    rows = (torch.arange(height, device=inputs.device) - moves[:, :1]) % height
    columns = (torch.arange(width, device=inputs.device) - moves[:, 1:]) % width
    which = torch.arange(count, device=inputs.device)[:, None, None]
    return inputs[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


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
