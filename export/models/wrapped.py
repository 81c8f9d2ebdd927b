"""torchvision's segmenters and SSDs with outputs that a graph can have: tensors, and all boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from ...runtime.tasks.base import Task
from ...runtime.tasks.classification import Classification
from ...runtime.tasks.detection import Detection
from ...runtime.tasks.segmentation import Segmentation
from .spec import InputShape

SPREAD = 3.0  # standard deviation of a random detector's class logits
SURE_ANCHORS = 5  # of the median picture, in a random network


class Wrapped(nn.Module):
    """A network inside a module whose weights keep the network's own names, so that its checkpoints load.

    Args:
        network: torchvision's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """The network's own."""
        return self.network.state_dict(*arguments, **options)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights under the network's own names."""
        return self.network.load_state_dict(state_dict, strict=strict, assign=assign)


class Segmenter(Wrapped):
    """Gives a map of class scores, shape (N, classes, height, width); in training an auxiliary one too."""

    def forward(self, pictures: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Scores of each pixel of pictures, shape (N, 3, height, width)."""
        found = self.network(pictures)
        if self.training and "aux" in found:
            return found["out"], found["aux"]
        return found["out"]


class Detector(Wrapped):
    """Gives an SSD's box deltas, shape (N, A, 4), and class logits, (N, A, 1 + classes), background first.

    Args:
        network: torchvision's SSD.
    """

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Deltas and logits of pictures, shape (N, 3, height, width)."""
        ssd: Any = self.network
        found = ssd.head(list(ssd.backbone(pictures).values()))
        return found["bbox_regression"], found["cls_logits"]

    def anchors(self, height: int, width: int) -> Tensor:
        """Left, top, right, bottom of each anchor, in pixels of an input of that size; (A, 4), float32."""
        ssd: Any = self.network
        pictures = torch.zeros(1, 3, height, width, device=next(self.parameters()).device)
        training = self.training
        self.eval()
        with torch.no_grad():
            features = list(ssd.backbone(pictures).values())
        self.train(training)
        return ssd.anchor_generator(ImageList(pictures, [(height, width)]), features)[0]


def spread_scores(detector: Detector, pictures: Tensor) -> None:
    """Scale a random network's class scores, in place, so that it is sure of a few boxes.

    Fresh heads give every class the same score, and no box passes a threshold: nothing could be compared.
    Without more weight on the background almost every anchor would hold an object.

    Args:
        detector: in evaluation mode.
        pictures: some inputs, shape (N, 3, height, width).
    """
    ssd: Any = detector.network
    heads = [layer for layer in ssd.head.classification_head.modules() if _gives_scores(layer)]
    with torch.no_grad():
        _, logits = detector(pictures)
        factor = SPREAD / float(logits.std())
        ahead = factor * (logits[..., 1:].amax(dim=2) - logits[..., 0])  # of the background, by anchor
        background = float(ahead.topk(SURE_ANCHORS, dim=1).values[:, -1].median())
        for head in heads:
            head.weight.mul_(factor)
            head.bias.mul_(factor)
            head.bias[:: logits.shape[2]] += background


def _gives_scores(layer: nn.Module) -> bool:
    """Whether a layer of a class head is its last: those before it have batch norms in place of a bias."""
    return isinstance(layer, nn.Conv2d) and layer.bias is not None


def task_of(network: nn.Module, input_shape: InputShape) -> Task:
    """What a network's answers mean: a segmenter's, a detector's, or else a classifier's.

    Args:
        network: with its weights.
        input_shape: (channels, height, width).
    """
    if isinstance(network, Segmenter):
        return Segmentation()
    if isinstance(network, Detector):
        height, width = input_shape[1:]
        anchors = network.anchors(height, width).cpu().numpy().astype(np.float32)
        return Detection("ssd", height, width, anchors=anchors)
    return Classification()
