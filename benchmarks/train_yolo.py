"""Train the detector of benchmarks/yolo.py on `digit-scenes`.

    python benchmarks/train_yolo.py OUT.safetensors [--epochs N]

An anchor answers for the object to which its score and its overlap fit best (Feng et al., TOOD, arXiv
2108.07755): the ten best of those whose centre lies in the box.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, generalized_box_iou_loss
from yolo import BINS, SIDE, Yolo

from edgeproof.export.data import digit_scenes
from edgeproof.runtime.tasks.boxes import Boxes

BATCH, RATE, DECAY = 16, 2e-3, 0.02
TOP = 10  # anchors of an object
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
OVERLAP_SHARE, DISTANCE_SHARE, SCORE_SHARE = 7.5, 1.5, 0.5


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    network = train(options.epochs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), options.out)


def train(epochs: int, seed: int = 0) -> Yolo:
    """The trained network, in evaluation mode."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    data = digit_scenes.load("detection")
    if data.train is None:
        raise AssertionError("the scenes have a part to train on")
    pictures = torch.from_numpy(data.train.tensor(data.preprocess((3, SIDE, SIDE))))
    truths: Sequence[Boxes] = list(data.train.labels)
    network = Yolo(len(data.labels))
    torch.set_flush_denormal(True)  # gradients through SiLU underflow, and a CPU is slow with such numbers
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=DECAY)
    steps = len(pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps * epochs)
    for epoch in range(epochs):
        losses = []
        for chosen in order.permutation(len(pictures))[: steps * BATCH].reshape(steps, BATCH):
            optimizer.zero_grad()
            found = loss(network, pictures[torch.from_numpy(chosen)], [truths[i] for i in chosen])
            found.backward()
            optimizer.step()
            schedule.step()
            losses.append(found.item())
        print(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}", file=sys.stderr, flush=True)
    return network.eval()


def loss(network: Yolo, pictures: Tensor, truths: Sequence[Boxes]) -> Tensor:
    """Of a batch: overlap and distances of the anchors that answer for an object, scores of all."""
    distributions, logits = network.raw(pictures)
    distances = network.distances(distributions)
    reach = torch.cat([-distances[..., :2], distances[..., 2:]], dim=2) * network.strides
    boxes = network.centres.repeat(1, 2) + reach
    wanted = torch.zeros_like(logits)
    total = logits.new_zeros(())
    for sample, truth in enumerate(truths):
        objects, classes = torch.from_numpy(truth.boxes), torch.from_numpy(truth.classes)
        anchors, owners, weights = assign(network, boxes[sample], logits[sample], objects, classes)
        if not len(anchors):
            continue
        wanted[sample, anchors, classes[owners]] = weights
        overlap = generalized_box_iou_loss(boxes[sample, anchors], objects[owners])
        distance = distance_loss(network, distributions[sample, anchors], anchors, objects[owners])
        total = total + (weights * (OVERLAP_SHARE * overlap + DISTANCE_SHARE * distance)).sum()
    scores = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return (total + SCORE_SHARE * scores) / wanted.sum().clamp(min=1)


@torch.no_grad()
def assign(
    network: Yolo, boxes: Tensor, logits: Tensor, objects: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Anchors that answer for an object, the object of each, and the score that each should give."""
    if not len(objects):
        empty = torch.zeros(0, dtype=torch.int64)
        return empty, empty, logits.new_zeros(0)
    centres = network.centres
    inside = (centres[:, None] > objects[:, :2]).all(2) & (centres[:, None] < objects[:, 2:]).all(2)
    overlaps = box_iou(boxes, objects)
    fit = logits.sigmoid()[:, classes] ** SCORE_POWER * overlaps**OVERLAP_POWER * inside  # (A, objects)
    best = fit.topk(min(TOP, len(fit)), dim=0)
    chosen = torch.zeros_like(fit).scatter(0, best.indices, best.values)
    anchors = (chosen.amax(dim=1) > 0).nonzero().flatten()
    owners = chosen[anchors].argmax(dim=1)
    highest = fit.amax(dim=0).clamp(min=1e-9)
    weights = chosen[anchors, owners] / highest[owners] * overlaps.amax(dim=0)[owners]
    return anchors, owners, weights


def distance_loss(network: Yolo, distributions: Tensor, anchors: Tensor, objects: Tensor) -> Tensor:
    """Cross entropy of the two bins beside each true distance, by how near they are; shape (K,)."""
    centres, strides = network.centres[anchors], network.strides[anchors]
    reach = torch.cat([centres - objects[:, :2], objects[:, 2:] - centres], dim=1) / strides
    reach = reach.clamp(0, BINS - 1.01)
    below = reach.floor().long()
    above_share = reach - below
    logs = distributions.log_softmax(dim=2)
    low = logs.gather(2, below.unsqueeze(2)).squeeze(2)
    high = logs.gather(2, (below + 1).unsqueeze(2)).squeeze(2)
    return -((1 - above_share) * low + above_share * high).mean(dim=1)


if __name__ == "__main__":
    main()
