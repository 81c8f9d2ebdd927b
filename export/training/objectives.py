"""What a training minimises, one class a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import box_iou

from ...runtime.tasks.boxes import Boxes
from ...runtime.tasks.segmentation import NO_LABEL
from ..models.spec import InputShape
from ..models.wrapped import Detector, Segmenter

AUXILIARY_SHARE = 0.3  # of GoogLeNet's and Inception's further heads, as in the papers
SEGMENTER_AUXILIARY_SHARE = 0.5  # as torchvision's own training has it
Outputs = Tensor | tuple[Tensor, ...]


class Objective(ABC):
    """A loss of a network's outputs and the truths of their samples."""

    @abstractmethod
    def loss(self, outputs: Outputs, truths: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """The loss that is reported, and the one that is minimised.

        Args:
            outputs: of the network while it trains.
            truths: of the same samples, in coordinates of the network's input.
        """


class ClassificationObjective(Objective):
    """Cross entropy; auxiliary outputs count three tenths each."""

    def loss(self, outputs: Outputs, truths: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Of class indices."""
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        labels = torch.tensor(np.asarray(truths), device=main.device)
        reported = total = functional.cross_entropy(main, labels)
        for output in auxiliary:
            total = total + AUXILIARY_SHARE * functional.cross_entropy(output, labels)
        return reported, total


class SegmentationObjective(Objective):
    """Cross entropy of each pixel that has a label; an auxiliary output counts half."""

    def loss(self, outputs: Outputs, truths: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Of maps of class indices, each of the network's input size."""
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        maps = torch.from_numpy(np.stack(list(truths)).astype(np.int64)).to(main.device)
        reported = total = functional.cross_entropy(main, maps, ignore_index=NO_LABEL)
        for output in auxiliary:
            found = functional.cross_entropy(output, maps, ignore_index=NO_LABEL)
            total = total + SEGMENTER_AUXILIARY_SHARE * found
        return reported, total


class SsdObjective(Objective):
    """torchvision's own multibox loss: smooth L1 of matched boxes, cross entropy with hard negatives.

    Args:
        network: whose anchors and matcher are used.
        input_shape: (channels, height, width).
    """

    def __init__(self, network: Detector, input_shape: InputShape) -> None:
        self._ssd: Any = network.network
        self._anchors = network.anchors(*input_shape[1:])

    def loss(self, outputs: Outputs, truths: Sequence[Boxes]) -> tuple[Tensor, Tensor]:
        """Of boxes in pixels of the input."""
        deltas, logits = outputs
        anchors = self._anchors.to(deltas.device)
        targets = [_target(truth, deltas.device) for truth in truths]
        matched = [self._matched(target["boxes"], anchors) for target in targets]
        head = {"bbox_regression": deltas, "cls_logits": logits}
        parts = self._ssd.compute_loss(targets, head, [anchors] * len(targets), matched)
        total = parts["bbox_regression"] + parts["classification"]
        return total, total

    def _matched(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        return self._ssd.proposal_matcher(box_iou(boxes, anchors))


def objective_of(network: nn.Module, input_shape: InputShape) -> Objective:
    """The objective that suits a network.

    Args:
        network: to be trained.
        input_shape: of one sample.
    """
    if isinstance(network, Detector):
        return SsdObjective(network, input_shape)
    return SegmentationObjective() if isinstance(network, Segmenter) else ClassificationObjective()


def _target(truth: Boxes, device: torch.device) -> dict[str, Tensor]:
    judged = truth.take(~truth.ignore)
    return {
        "boxes": torch.from_numpy(judged.boxes).to(device),
        "labels": torch.from_numpy(judged.classes + 1).to(device),  # 0 is the background
    }
