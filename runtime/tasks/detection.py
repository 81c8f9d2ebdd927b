"""Detection: objects with a box, a class and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..errors import TaskError
from .average_precision import MeanAveragePrecision, ObjectFindings
from .base import Measure, Outputs, Task, View
from .boxes import Boxes, areas, iou, nms
from .drawing import font_size, palette
from .figures import Findings, name_of_class
from .geometry import Geometry
from .layouts import LAYOUTS, Candidates, Layout
from .outputs import OutputSpec, Part, whole

MAX_CANDIDATES = 1000  # a picture, the best ones, that suppression looks at
MATCHES = (0.5, 0.75)  # IoU from which on two boxes are the same object
JUDGED_FROM = 0.01  # score from which on an object counts for average precision, whatever is shown
SCORE_DIGITS, BOX_DIGITS = 4, 1


class MatchedBoxes(Measure):
    """F1 of a model's objects against a reference's: of one class, at IoU 0.5, each matched once."""

    name = "boxes matched at IoU 0.5 (F1)"

    def count(self, wanted: Boxes, answer: Boxes) -> NDArray[np.int64]:
        """Matched objects at each IoU, then the reference's and the answer's, shape (4,)."""
        matched = [_matched(wanted, answer, threshold) for threshold in MATCHES]
        return np.array([*matched, len(wanted), len(answer)], np.int64)

    def value(self, counts: Sequence[NDArray[np.int64]]) -> float | None:
        """In percent; None where the reference has no object on any sample."""
        return self._f1(counts, 0)

    def details(self, counts: Sequence[NDArray[np.int64]]) -> dict[str, float]:
        """The same at IoU 0.75."""
        found = self._f1(counts, 1)
        return {} if found is None else {"boxes matched at IoU 0.75 (F1)": found}

    def _f1(self, counts: Sequence[NDArray[np.int64]], which: int) -> float | None:
        total = np.sum(counts, axis=0) if len(counts) else np.zeros(4)
        return 100 * 2 * float(total[which]) / float(total[2] + total[3]) if total[2] else None


@dataclass(frozen=True)
class Detection(Task):
    """Boxes and scores before non-maximum suppression, which is done here.

    Attributes:
        layout: how the outputs hold them: a key of LAYOUTS.
        height, width: of the model's input, in pixels, which no box leaves; 0 where it is not known yet.
        min_score: objects below this score are none; average precision reads lower ones too.
        iou: of two boxes of one class that overlap by more, the worse goes.
        max_boxes: of one picture.
        anchors: of the layout "ssd": left, top, right, bottom in pixels of the input, shape (A, 4).
    """

    name: ClassVar[str] = "detection"
    array_names: ClassVar[tuple[str, ...]] = ("anchors",)
    ties: ClassVar[float] = 5e-3

    layout: str
    height: int = 0
    width: int = 0
    min_score: float = 0.25
    iou: float = 0.45
    max_boxes: int = 100
    anchors: Any = None

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        if not (0 <= self.min_score < 1 and 0 < self.iou < 1 and self.max_boxes > 0):
            raise ValueError("min_score and iou must lie between 0 and 1, and max_boxes above 0")
        if min(self.height, self.width) < 0 or bool(self.height) != bool(self.width):
            raise ValueError("height and width must be those of the input, in pixels, or both 0")

    @property
    def agreement(self) -> Measure:
        """Objects that the reference finds too."""
        return MatchedBoxes()

    @property
    def metric(self) -> Measure:
        """COCO's mean average precision."""
        return MeanAveragePrecision()

    def findings(self, outputs: Sequence[OutputSpec]) -> Findings:
        """By class, with curves and the calibration of scores."""
        return ObjectFindings(self.min_score)

    def require_fit(self, outputs: Sequence[OutputSpec], labels: Sequence[str]) -> None:
        """Refuse outputs of another layout, and anchors that are not theirs.

        Raises:
            TaskError: says what the layout wants.
        """
        layout = LAYOUTS[self.layout]
        classes = layout.classes(outputs)
        shapes = ", ".join(f"{output.name} {('N', *output.shape[1:])}" for output in outputs)
        if classes is None or (labels and classes != len(labels)):
            raise TaskError(
                f"The model's outputs are no detection of the layout {self.layout}"
                + (f" with {len(labels)} classes." if labels else "."),
                wanted=layout.wanted,
                got=shapes,
                available=", ".join(LAYOUTS),
                todo="--task detection:LAYOUT, or the data set that the model was trained on with --data",
            )
        if self.layout == "ssd":
            self._require_anchors(outputs[0])

    def for_input(self, shape: Sequence[int]) -> Task:
        """The same with the sides of the input, where they were not given.

        Raises:
            TaskError: others were given.
        """
        if len(shape) != 3:
            return self
        height, width = int(shape[1]), int(shape[2])
        if self.height and (self.height, self.width) != (height, width):
            raise TaskError(
                "The detection's height and width are not those of the model's input.",
                wanted=f"height={height},width={width}",
                got=f"height={self.height},width={self.width}",
                todo="leave them out of --task; they follow from the input",
            )
        return replace(self, height=height, width=width)

    def for_metric(self) -> Task:
        """The same with objects down to a low score: precision is read along all scores."""
        return replace(self, min_score=min(self.min_score, JUDGED_FROM))

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Boxes, objectness and classes, each apart; outputs behind those of the layout as wholes."""
        parts = LAYOUTS[self.layout].parts(outputs)
        held = {part.output for part in parts}
        return (*parts, *(whole(output.name) for output in outputs if output.name not in held))

    def decode(self, outputs: Outputs) -> list[Boxes]:
        """The objects of each sample, the surest first, in pixels of the input.

        Raises:
            TaskError: a box or a score is NaN or Inf, or the sides of the input are not known.
        """
        if not self.height:
            raise TaskError(
                "A detection must know the sides of the model's input, which no box leaves.",
                todo="give height and width, as in --task detection:yolov8,height=640,width=640",
            )
        layout, arrays = LAYOUTS[self.layout], list(outputs.values())
        return [self._objects(layout, [each[i] for each in arrays], i) for i in range(len(arrays[0]))]

    def truth_in_input(self, truth: Boxes, geometry: Geometry, answer: Boxes) -> Boxes:
        """The truth's boxes in pixels of the input, cut at its edges; those outside are not judged."""
        moved = self._clipped(geometry.boxes_in_input(truth.boxes))
        return truth.moved(moved).take(areas(moved) > 0)

    def row(self, answer: Boxes, view: View) -> dict[str, Any]:
        """Each object with its box in pixels of the picture; what lies outside, in a letterbox, is none."""
        if view.geometry is not None:
            answer = answer.moved(view.geometry.boxes_in_picture(answer.boxes))
            answer = answer.take(areas(answer.boxes) > 0)
        return {
            "objects": [
                {
                    "index": int(index),
                    "label": _label(view, int(index)),
                    "score": round(float(score), SCORE_DIGITS),
                    "box": [round(float(side), BOX_DIGITS) for side in box],
                }
                for box, index, score in zip(answer.boxes, answer.classes, answer.scores, strict=True)
            ]
        }

    def draw(self, picture: Image.Image, answer: Boxes, view: View) -> Image.Image:
        """The picture with a box and a name for each object, in the colour of its class."""
        image = picture.convert("RGB")
        draw, size, colours = ImageDraw.Draw(image), font_size(image), palette()
        font = ImageFont.load_default(size)
        for found in self.row(answer, view)["objects"]:
            colour = tuple(int(part) for part in colours[(found["index"] + 1) % len(colours)])
            left, top, right, bottom = found["box"]
            draw.rectangle((left, top, right, bottom), outline=colour, width=max(1, size // 8))
            text = _named(found)
            place = (left, max(0, top - size - 2))
            draw.rectangle(draw.textbbox(place, text, font=font), fill="black")
            draw.text(place, text, fill="white", font=font)
        return image

    def lines(self, answer: Boxes, view: View) -> list[str]:
        """Each object with its score."""
        return [_named(found) for found in self.row(answer, view)["objects"]]

    def _objects(self, layout: Layout, outputs: list[NDArray[Any]], sample: int) -> Boxes:
        values = [each.astype(np.float32, copy=False) for each in outputs]
        if not all(np.isfinite(each).all() for each in values):
            raise TaskError(f"A box or a score of sample {sample} is NaN or Inf.")
        found = layout.candidates(values, self.anchors, self.height)
        boxes, scores, classes = _best_candidates(found, self.min_score)
        boxes = self._clipped(boxes)
        seen = areas(boxes) > 0
        boxes, scores, classes = boxes[seen], scores[seen], classes[seen]
        beside = classes * 2 * max(self.height, self.width)  # where no class covers another
        kept = nms(boxes + beside[:, None], scores, self.iou, self.max_boxes)
        return Boxes.of(boxes[kept], classes[kept], scores[kept])

    def _clipped(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        ends = np.array([self.width, self.height] * 2, np.float32)
        return np.clip(boxes, 0, ends).astype(np.float32)

    def _require_anchors(self, deltas: OutputSpec) -> None:
        shape = None if self.anchors is None else np.shape(self.anchors)
        wanted = deltas.shape[1]
        fits = shape is not None and len(shape) == 2 and shape[1] == 4 and wanted in (shape[0], "A")
        if not fits or not np.isfinite(np.asarray(self.anchors, np.float32)).all():
            raise TaskError(
                "The anchors do not match the model.",
                wanted=f"finite left, top, right, bottom in pixels of the input, shape ({wanted}, 4)",
                got="none" if shape is None else f"shape {shape}",
                todo="--task detection:ssd,anchors=FILE.npy",
            )


def _best_candidates(
    found: Candidates, min_score: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes, scores and classes of at most MAX_CANDIDATES pairs of a box and a class, the best first."""
    rows, classes = np.nonzero(found.scores >= max(min_score, np.finfo(np.float32).tiny))
    scores = found.scores[rows, classes]
    chosen = np.arange(len(scores))
    if len(scores) > MAX_CANDIDATES:
        # Sorted, so that equal scores come in the order of the output on every processor.
        chosen = np.sort(np.argpartition(-scores, MAX_CANDIDATES)[:MAX_CANDIDATES])
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    return found.boxes[rows[chosen]], scores[chosen], classes[chosen]


def _matched(wanted: Boxes, answer: Boxes, threshold: float) -> int:
    """How many objects are in both: each answer, the surest first, takes the free one that it covers best."""
    if not len(wanted) or not len(answer):
        return 0
    overlaps = iou(answer.boxes, wanted.boxes)
    overlaps[answer.classes[:, None] != wanted.classes[None]] = 0
    matched = 0
    for index in np.argsort(-answer.scores, kind="stable"):
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= threshold:
            overlaps[:, best] = 0
            matched += 1
    return matched


def _named(found: Mapping[str, Any]) -> str:
    return f"{found['label']} {found['score']:.2f}"


def _label(view: View, index: int) -> str:
    return name_of_class(view.labels, index)
