"""Segmentation: a class for each pixel; of one channel, whether a pixel belongs to what is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import TaskError
from .base import Measure, Outputs, Task, View
from .drawing import palette, with_text
from .figures import Arrays, ClassFigures, Figures, Findings, confusions, joined, name_of_class, percent
from .geometry import Geometry
from .outputs import OutputSpec, Part, whole_outputs

NO_LABEL = 255  # in a truth: a pixel that is not judged; in a map: one that the model does not see
MAX_CLASSES = NO_LABEL
OPACITY = 0.5  # of the colours over a picture
DIGITS = 6  # of a share in a row


class MeanIoU(Measure):
    """Mean over the classes of intersection over union, each summed over all samples, as PASCAL VOC has it.

    Args:
        name: as it is printed.
        foreground: whether class 0 is left out, as where a map of one channel is thresholded.
        several: whether one class alone proves nothing, as where the reference gives it to every pixel.
    """

    def __init__(self, name: str, *, foreground: bool, several: bool) -> None:
        self.name = name
        self._foreground = foreground
        self._several = several

    def count(self, wanted: NDArray[np.uint8], answer: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Pixels of each class, shape (3, 256): in both maps, in the one that is wanted, in the answer.

        Raises:
            TaskError: the maps have different sizes.
        """
        truth, found = _judged(wanted, answer)
        maps = (truth[truth == found], truth, found)
        return np.stack([np.bincount(each, minlength=MAX_CLASSES + 1) for each in maps])

    def value(self, counts: Sequence[NDArray[np.int64]]) -> float | None:
        """In percent; None where no class is there to be judged."""
        by_class = self._by_class(counts)
        first = int(self._foreground)
        found = [iou for index, iou in by_class.items() if index >= first]
        if not found or (self._several and not self._foreground and len(found) < 2):
            return None
        return 100 * float(np.mean(found))

    def _by_class(self, counts: Sequence[NDArray[np.int64]]) -> dict[int, float]:
        if not len(counts):
            return {}
        both, wanted, found = np.sum(counts, axis=0)
        union = wanted + found - both
        return {int(i): float(both[i] / union[i]) for i in np.flatnonzero(union)}


class PixelFindings(Findings):
    """How often each class was answered where each was the truth."""

    def of(self, wanted: NDArray[np.uint8], answer: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The pairs that occur: truth, answer and number of pixels, each of shape (P,)."""
        truth, found = _judged(wanted, answer)
        pairs, counts = np.unique(truth.astype(np.int64) << 8 | found, return_counts=True)
        return {"truth": pairs >> 8, "answer": pairs & 0xFF, "pixels": counts}

    def count(self, found: Arrays) -> NDArray[np.int64]:
        """As `MeanIoU` counts."""
        truth, answer, pixels = found["truth"], found["answer"], found["pixels"]
        both = truth == answer
        sides = ((truth[both], pixels[both]), (truth, pixels), (answer, pixels))
        counts = [np.bincount(*side, minlength=MAX_CLASSES + 1) for side in sides]
        return np.stack(counts).astype(np.int64)

    def figures(self, found: Sequence[Arrays], labels: Sequence[str]) -> Figures:
        """IoU, precision and recall by class, and confusions, in pixels."""
        both, truths, answers = np.sum([self.count(each) for each in found], axis=0)
        each = [
            ClassFigures(
                name_of_class(labels, int(i)),
                int(truths[i]),
                percent(both[i], truths[i] + answers[i] - both[i]),
                percent(both[i], answers[i]),
                percent(both[i], truths[i]),
            )
            for i in np.flatnonzero(truths + answers)
        ]
        truth, answer, pixels = (joined(found, name) for name in ("truth", "answer", "pixels"))
        return Figures(tuple(each), confusions(truth, answer, pixels, labels))


def _judged(
    wanted: NDArray[np.uint8], answer: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth and answer of the pixels that are judged."""
    if wanted.shape != answer.shape:
        raise TaskError(
            "A map of classes has another size.", wanted=f"shape {wanted.shape}", got=f"shape {answer.shape}"
        )
    judged = wanted != NO_LABEL
    return wanted[judged], answer[judged]


@dataclass(frozen=True)
class Segmentation(Task):
    """The first output holds a score a class and pixel, shape (N, classes, height, width).

    Attributes:
        threshold: of a single channel: the value above which a pixel belongs to what is looked for. 0.5 suits
            probabilities and 0 logits.
    """

    name: ClassVar[str] = "segmentation"
    ties: ClassVar[float] = 1e-3

    threshold: float | None = None

    @property
    def agreement(self) -> Measure:
        """Mean IoU with the reference's map; of one channel, the IoU of both thresholded maps."""
        title = "mIoU with the reference" if self.threshold is None else "IoU with the reference"
        return MeanIoU(title, foreground=self.threshold is not None, several=True)

    @property
    def metric(self) -> Measure:
        """Mean IoU with the truth."""
        return MeanIoU("mIoU", foreground=self.threshold is not None, several=False)

    def require_fit(self, outputs: Sequence[OutputSpec], labels: Sequence[str]) -> None:
        """Refuse a first output that is no map of classes.

        Raises:
            TaskError: it has another shape, or one channel without a threshold: its largest is always itself.
        """
        shape = outputs[0].shape
        channels = shape[1] if len(shape) == 4 else 0
        classes = 2 if channels == 1 else channels
        wanted, todo = "", ""
        if not isinstance(channels, int) or not 1 <= channels <= MAX_CLASSES:
            wanted = f"shape (N, classes, height, width), at most {MAX_CLASSES} classes"
            todo = "choose another task: --task classification, --task detection:LAYOUT or --task raw"
        elif (channels == 1) != (self.threshold is not None):
            wanted = "a threshold where there is one channel, and none where there are several"
            todo = "--task segmentation,threshold=0.5" if channels == 1 else "--task segmentation"
        elif labels and len(labels) != classes:
            wanted = f"{len(labels)} classes, as there are labels"
            todo = "give the data set that the model was trained on with --data"
        if wanted:
            raise TaskError(
                f"The model's first output, {outputs[0].name!r}, is not the segmentation that was asked for.",
                wanted=wanted,
                got=f"shape {shape}" + ("" if self.threshold is None else f", threshold {self.threshold:g}"),
                todo=todo,
            )

    def findings(self, outputs: Sequence[OutputSpec]) -> Findings:
        """By class, with confusions."""
        return PixelFindings()

    def parts(self, outputs: Sequence[OutputSpec]) -> tuple[Part, ...]:
        """Each output as a whole."""
        return whole_outputs(outputs)

    def decode(self, outputs: Outputs) -> list[NDArray[np.uint8]]:
        """The class of each pixel, shape (height, width); of one channel, 1 above the threshold, else 0."""
        scores = next(iter(outputs.values()))
        if self.threshold is not None:
            return list((scores[:, 0] > self.threshold).astype(np.uint8))
        return [each.argmax(axis=0).astype(np.uint8) for each in scores]

    def truth_in_input(
        self, truth: NDArray[np.uint8], geometry: Geometry, answer: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """The truth's class at the middle of each pixel of the answer; NO_LABEL where there is no picture.

        Raises:
            TaskError: the truth has another size than the picture.
        """
        if truth.shape != geometry.picture[::-1]:
            raise TaskError(
                "A mask has another size than its picture.",
                wanted=f"{geometry.picture[0]} x {geometry.picture[1]} pixels",
                got=f"{' x '.join(map(str, truth.shape[::-1]))}",
            )
        rows, columns = answer.shape
        return geometry.map_in_input(truth, (rows, columns), NO_LABEL)

    def row(self, answer: NDArray[np.uint8], view: View) -> dict[str, Any]:
        """The share of the picture that each class covers, the largest first."""
        seen = _in_picture(answer, view)
        pixels = np.bincount(seen.ravel(), minlength=NO_LABEL + 1)[:NO_LABEL]
        order = [int(i) for i in np.argsort(-pixels, kind="stable") if pixels[i]][: view.top]
        return {
            "areas": [
                {"index": i, "label": _label(view, i), "share": round(float(pixels[i] / seen.size), DIGITS)}
                for i in order
            ]
        }

    def draw(self, picture: Image.Image, answer: NDArray[np.uint8], view: View) -> Image.Image:
        """The picture under the colours of its classes, with their names and shares."""
        image = picture.convert("RGB")
        seen = _in_picture(answer, view)
        colours = Image.fromarray(palette()[seen])
        covered = ((seen != 0) & (seen != NO_LABEL)) * round(255 * OPACITY)
        image.paste(colours, mask=Image.fromarray(covered.astype(np.uint8)))
        return with_text(image, self.lines(answer, view))

    def lines(self, answer: NDArray[np.uint8], view: View) -> list[str]:
        """The classes with the share of the picture that each covers."""
        areas = self.row(answer, view)["areas"]
        return [f"{100 * area['share']:5.1f} %  {area['label']}" for area in areas]

    def maps(self, answer: NDArray[np.uint8], view: View) -> dict[str, Image.Image]:
        """The map as a picture whose colours are the classes, with PASCAL VOC's palette."""
        mask = Image.fromarray(_in_picture(answer, view))
        mask.putpalette(palette().tobytes())
        return {"mask.png": mask}


def _in_picture(answer: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    return answer if view.geometry is None else view.geometry.map_in_picture(answer, NO_LABEL)


def _label(view: View, index: int) -> str:
    return name_of_class(view.labels, index)
