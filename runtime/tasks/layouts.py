"""How detectors lay out their boxes and scores, before non-maximum suppression; one class a layout.

A graph ends there: TensorRT has no fast way to suppress boxes, and PyTorch's exporter cannot trace
torchvision's. Decoding is vectorized over all candidates of a picture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .classification import softmax
from .outputs import OutputSpec, Part, whole

Arrays = list[NDArray[np.float32]]  # one sample's outputs, in the model's order
SSD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # by which torchvision's SSD multiplies its deltas
MAX_GROWTH = np.log(1000 / 16)  # of a side, as torchvision clamps it


@dataclass(frozen=True)
class Candidates:
    """All boxes of one picture: left, top, right, bottom, shape (A, 4), and a score a class, shape (A, C)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


class Layout(ABC):
    """A detector's outputs.

    Attributes:
        name: as it is typed.
        wanted: the outputs' shapes, in words.
    """

    name: ClassVar[str]
    wanted: ClassVar[str]

    @abstractmethod
    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """How many classes the outputs tell apart; None where they are not of this layout."""

    @abstractmethod
    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """What parity judges apart."""

    @abstractmethod
    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """Decode one sample.

        Args:
            outputs: without the batch.
            anchors: those of an SSD, left, top, right, bottom, in pixels of the input, shape (A, 4).
            side: height of the input in pixels, which a layout with strides needs.
        """


class SsdLayout(Layout):
    """torchvision's SSD: deltas of anchors, and logits of the classes with the background first.

    Liu et al. (arXiv 1512.02325); the deltas are those of torchvision's BoxCoder.
    """

    name = "ssd"
    wanted = "box deltas (N, A, 4) and class logits (N, A, 1 + classes)"

    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """All but the background."""
        return _pair(outputs, extra=1)

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Deltas and logits."""
        return tuple(whole(output.name) for output in outputs)

    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """Anchors moved by the deltas; probabilities of the classes."""
        if anchors is None:
            raise AssertionError("require_fit asks for the anchors")
        deltas = outputs[0] / np.array(SSD_WEIGHTS, np.float32)
        sizes = anchors[:, 2:] - anchors[:, :2]
        centres = anchors[:, :2] + sizes / 2 + deltas[:, :2] * sizes
        half = np.exp(np.minimum(deltas[:, 2:], np.float32(MAX_GROWTH))) * sizes / 2
        boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
        return Candidates(boxes, softmax(outputs[1]).astype(np.float32)[:, 1:])


class Yolo5Layout(Layout):
    """YOLOv5's head: centre, width and height in pixels, objectness and class scores, each 0..1."""

    name = "yolov5"
    wanted = "one output (N, A, 5 + classes), with at least as many boxes A as values a box"

    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """All behind the box and the objectness."""
        return _single(outputs, axis=2, before=5)

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Centres and sizes, objectness, classes."""
        name = outputs[0].name
        return (
            Part(name, f"{name}[boxes]", 2, 0, 4),
            Part(name, f"{name}[objectness]", 2, 4, 5),
            Part(name, f"{name}[classes]", 2, 5),
        )

    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """Objectness times class score."""
        return Candidates(_corners(outputs[0][:, :4]), outputs[0][:, 4:5] * outputs[0][:, 5:])


class Yolo8Layout(Layout):
    """YOLOv8's and YOLO11's head: centre, width and height in pixels and class scores, boxes last."""

    name = "yolov8"
    wanted = "one output (N, 4 + classes, A), with at least as many boxes A as values a box"

    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """All behind the box."""
        return _single(outputs, axis=1, before=4)

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Centres and sizes, classes."""
        name = outputs[0].name
        return (Part(name, f"{name}[boxes]", 1, 0, 4), Part(name, f"{name}[classes]", 1, 4))

    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """As they are."""
        return Candidates(_corners(outputs[0][:4].T), outputs[0][4:].T)


class CenterNetLayout(Layout):
    """Heat maps of centres, sizes and offsets, in cells: "Objects as Points" (arXiv 1904.07850)."""

    name = "centernet"
    wanted = "heat maps (N, classes, h, w), sizes (N, 2, h, w) and offsets (N, 2, h, w), in cells"

    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """A heat map each."""
        shapes = [output.shape for output in outputs[:3]]
        if len(shapes) != 3 or any(len(shape) != 4 for shape in shapes):
            return None
        fits = all(shape[1] == 2 and shape[2:] == shapes[0][2:] for shape in shapes[1:])
        return shapes[0][1] if fits and isinstance(shapes[0][1], int) else None

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Each output."""
        return tuple(whole(output.name) for output in outputs)

    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """Cells that no neighbour outshines, in the 3 x 3 around them; the others score 0."""
        heat, sizes, offsets = outputs[:3]
        stride = side / heat.shape[1]
        rows, columns = np.mgrid[0 : heat.shape[1], 0 : heat.shape[2]]
        centres = (np.stack([columns, rows]) + offsets).reshape(2, -1).T * stride
        half = sizes.reshape(2, -1).T * (stride / 2)
        peaks = np.where(heat == _maximum_around(heat), heat, 0).reshape(len(heat), -1).T
        boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
        return Candidates(boxes, peaks.astype(np.float32, copy=False))


class BoxesLayout(Layout):
    """Boxes that the graph has decoded: left, top, right, bottom in pixels, and a score a class, 0..1."""

    name = "boxes"
    wanted = "boxes (N, A, 4) and class scores (N, A, classes)"

    def classes(self, outputs: Sequence[OutputSpec]) -> int | None:
        """A score each."""
        return _pair(outputs, extra=0)

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Boxes and scores."""
        return tuple(whole(output.name) for output in outputs)

    def candidates(self, outputs: Arrays, anchors: NDArray[np.float32] | None, side: float) -> Candidates:
        """As they are."""
        return Candidates(outputs[0], outputs[1])


LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (SsdLayout(), Yolo5Layout(), Yolo8Layout(), CenterNetLayout(), BoxesLayout())
}


def _pair(outputs: Sequence[OutputSpec], extra: int) -> int | None:
    """Classes of a pair of boxes and scores, of which the first `extra` are none."""
    if len(outputs) < 2 or any(len(output.shape) != 3 for output in outputs[:2]):
        return None
    boxes, scores = outputs[0].shape, outputs[1].shape
    fits = boxes[2] == 4 and boxes[1] == scores[1] and isinstance(scores[2], int) and scores[2] > extra
    return int(scores[2]) - extra if fits else None


def _single(outputs: Sequence[OutputSpec], axis: int, before: int) -> int | None:
    """Classes of a single output, behind what comes before them on an axis.

    The other axis has the boxes. Where it is the shorter one, the output is of another layout: no detector
    tells more classes apart than it has places for a box.
    """
    shape = outputs[0].shape
    if len(shape) != 3:
        return None
    values, boxes = shape[axis], shape[3 - axis]
    if not isinstance(values, int) or values <= before or (isinstance(boxes, int) and boxes < values):
        return None
    return values - before


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Left, top, right, bottom of boxes given by centre, width and height, shape (A, 4)."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1).astype(np.float32)


def _maximum_around(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest value of the 3 x 3 cells around each, shape (classes, h, w)."""
    padded = np.pad(heat, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    beside = np.maximum(np.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    return np.maximum(np.maximum(beside[:, :-2], beside[:, 1:-1]), beside[:, 2:])
