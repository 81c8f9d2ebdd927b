"""Rounding, step sizes and biases learned from the float model's own answers, without labels.

Adaptive rounding (AdaRound: Nagel et al., arXiv 2004.10568) and step sizes (LSQ) are learned together,
against the float model's values at every block boundary (BRECQ: Li et al., arXiv 2102.05426) and its output
at once: activations are what INT8 costs MobileNets, and only an end-to-end loss lets weights make up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from ...runtime.errors import DataError
from ..batches import CalibrationSet
from .network import TorchGraph, cut_points
from .simulate import QuantizedGraph

SMALLEST_CROP = 0.6  # share of the side


@dataclass(frozen=True)
class Course:
    """How recovery learns.

    Attributes:
        steps: number of updates.
        batch: samples an update.
        step_rate: learning rate of the natural logarithm of step sizes (Adam's, at its peak).
        grid_rate: that of the weights, in units of their step size.
        bias_rate: that of the biases, in units of the root mean square of the layer's biases.
        seed: of the order of samples and of crops and flips.
    """

    steps: int
    batch: int = 8
    step_rate: float = 1e-3
    grid_rate: float = 5e-3
    bias_rate: float = 2e-4
    seed: int = 0


Track = Callable[[Iterable[int]], Iterable[int]]


def distill(
    model: onnx.ModelProto,
    student: QuantizedGraph,
    samples: CalibrationSet,
    course: Course,
    track: Track = iter,
) -> list[float]:
    """Teach `student` to answer as the float model does; returns the loss of every step.

    Args:
        model: the float32 graph, the teacher.
        student: the simulation of its INT8 form; changed in place.
        samples: calibration inputs. Pictures are cropped and flipped at random.
        course: how it learns.
        track: wraps the steps, to show progress.

    Raises:
        DataError: the loss is no finite number any more.
    """
    teacher = TorchGraph(model)
    wanted = list(dict.fromkeys([*cut_points(model), teacher.outputs[0]]))
    optimizer = torch.optim.Adam(_groups(student, course), betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=course.steps, pct_start=0.1)
    random = np.random.default_rng(course.seed)
    losses = []
    for _ in track(range(course.steps)):
        chosen = random.choice(len(samples), size=min(course.batch, len(samples)), replace=False)
        batch = vary(torch.from_numpy(samples.read(np.sort(chosen))), random)
        with torch.no_grad():
            right = teacher.run(batch, wanted)
        loss = _loss(student.run(batch, wanted), right, teacher.outputs[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise DataError(
                "The recovery diverged: its loss is no finite number.", todo="quantize with --recover off"
            )
    return losses


def vary(batch: Tensor, random: np.random.Generator) -> Tensor:
    """Pictures, shape (N, C, H, W), cropped to a random part, stretched back and perhaps mirrored.

    The teacher answers for whatever it is shown, so this widens the calibration set at no risk. Other tensors
    pass as they are.
    """
    if batch.ndim != 4 or min(batch.shape[2:]) < 2 or not batch.is_floating_point():
        return batch
    height, width = batch.shape[2:]
    share = random.uniform(SMALLEST_CROP, 1.0)
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top, left = random.integers(height - rows + 1), random.integers(width - columns + 1)
    part = batch[:, :, top : top + rows, left : left + columns]
    part = part.flip(3) if random.random() < 0.5 else part
    return functional.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)


def _loss(answers: dict[str, Tensor], right: dict[str, Tensor], output: str) -> Tensor:
    """Error relative to the signal at the output, on average at the block boundaries, and relative entropy.

    The entropy is that of the classes' probabilities: it looks at those classes that may win.
    """
    errors = {name: _relative(answers[name], right[name]) for name in right}
    inner = [error for name, error in errors.items() if name != output]
    loss = errors[output] + (torch.stack(inner).mean() if inner else 0.0)
    if right[output].ndim != 2:
        return loss
    wanted, got = (functional.log_softmax(scores, dim=1) for scores in (right[output], answers[output]))
    return loss + functional.kl_div(got, wanted, log_target=True, reduction="batchmean")


def _relative(answer: Tensor, right: Tensor) -> Tensor:
    signal = (right - right.mean(dim=0)).square().mean()
    return (answer - right).square().mean() / signal.clamp_min(1e-12)


def _groups(student: QuantizedGraph, course: Course) -> list[dict[str, object]]:
    kinds = student.parameters()
    groups: list[dict[str, object]] = [
        {"params": kinds["steps"], "lr": course.step_rate},
        {"params": kinds["weights"], "lr": course.grid_rate},
    ]
    for bias in kinds["biases"]:
        size = float(bias.detach().square().mean().sqrt()) or 1.0
        groups.append({"params": [bias], "lr": course.bias_rate * size})
    return groups
