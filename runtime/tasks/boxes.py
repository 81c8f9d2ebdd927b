"""Boxes with their classes: a detector's answer, or the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Boxes:
    """The objects of one picture.

    Attributes:
        boxes: left, top, right, bottom of each, shape (K, 4), float32, in pixels.
        classes: class index of each, shape (K,), int64.
        scores: how sure the model is of each, shape (K,), float32, 0..1; ones for a truth.
        ignore: which objects of a truth are not judged, such as crowds, shape (K,), bool.
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    ignore: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        boxes: object,
        classes: object,
        scores: object | None = None,
        ignore: object | None = None,
    ) -> Boxes:
        """Boxes from sequences; without scores they are ones, and without `ignore` all are judged."""
        held = np.asarray(boxes, np.float32).reshape(-1, 4)
        count = len(held)
        return cls(
            held,
            np.asarray(classes, np.int64).reshape(count),
            np.ones(count, np.float32) if scores is None else np.asarray(scores, np.float32),
            np.zeros(count, bool) if ignore is None else np.asarray(ignore, bool),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Boxes:
        """Those at some positions, or of a mask."""
        return Boxes(self.boxes[chosen], self.classes[chosen], self.scores[chosen], self.ignore[chosen])

    def moved(self, boxes: NDArray[np.float32]) -> Boxes:
        """The same objects at other places."""
        return replace(self, boxes=boxes)


def areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Area of each box, shape (K,); 0 where its right is left of its left."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0] * sides[..., 1]


def intersections(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.floating]:
    """Area that each box of one set shares with each of another, shape (K, L)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]


def iou(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of each box of one set and each of another, shape (K, L); 0 for empty boxes."""
    shared = intersections(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def nms(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], limit: float, most: int
) -> NDArray[np.int64]:
    """Positions of the boxes that no better one covers, the best first: greedy non-maximum suppression.

    Args:
        boxes: shape (K, 4).
        scores: shape (K,).
        limit: a box goes where its IoU with a better one is above this.
        most: how many are kept at the most.
    """
    order = np.argsort(-scores, kind="stable")
    area = areas(boxes)
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        shared = intersections(boxes[best][None], boxes[rest])[0]
        union = area[best] + area[rest] - shared
        order = rest[shared <= limit * union]
    return np.array(kept, np.int64)
