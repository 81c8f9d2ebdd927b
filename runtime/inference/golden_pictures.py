"""Recorded pictures: on this machine each must become the same tensor, and get the same label, as at export.

The golden inputs are tensors, so they do not prove the preprocessing. The bundle therefore holds a few
encoded pictures, with their tensors and PyTorch's labels, which prove decoding, resizing and normalizing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle, Golden
from ..bundle.parity import Tolerance
from ..bundle.preprocess import Preprocess
from ..errors import ImageError
from ..session.base import InferenceSession
from ..sources.readers import decode_image

# The JPEG standard lets decoders round the cosine transform and the colours each in their own way, as
# libjpeg and libjpeg-turbo do. Half a level more is for the rounding of float32. PNG is lossless, and there
# nothing may differ.
JPEG_LEVELS = 2.5


@dataclass(frozen=True)
class PictureCheck:
    """What became of the recorded pictures; its truth value is the verdict.

    Attributes:
        pictures: how many were checked.
        reason: what differs, by picture; empty when nothing does.
    """

    pictures: int
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason


def check_pictures(
    bundle: Bundle, golden: Golden, session: InferenceSession, tolerance: Tolerance
) -> PictureCheck:
    """Read each recorded picture as a runner does, and compare its tensor and its label with those of export.

    A tensor may differ by JPEG_LEVELS of 255 where the picture is a JPEG, and nowhere else. Labels must be
    PyTorch's own, but for the share that `tolerance` leaves to a lower precision: one picture, of few.

    Args:
        bundle: the bundle; without pictures there is nothing to check.
        golden: its recorded arrays.
        session: gives the answers that count here.
        tolerance: of the precision that it runs.

    Raises:
        BundleError: a picture has changed since the bundle was opened.
        InputError: a tensor does not fit the model.
    """
    entries, preprocess = bundle.manifest.pictures, bundle.manifest.preprocess
    if golden.pictures is None or preprocess is None:
        return PictureCheck(0)
    wrong: list[str] = []
    others: list[str] = []
    for entry, recorded in zip(entries, golden.pictures, strict=True):
        try:
            picture = decode_image(io.BytesIO(bundle.picture_bytes(entry)), entry.file)
            tensor = preprocess(picture)
        except ImageError as error:
            wrong.append(error.message)
            continue
        if problem := _difference(recorded, tensor, preprocess, lossy=picture.format == "JPEG"):
            wrong.append(f"{entry.file}: preprocessing gives another tensor than at export: {problem}")
            continue
        if not entry.label:  # the golden inputs prove the answers of other tasks
            continue
        scores = _scores(bundle, session, tensor)
        if scores is None:
            wrong.append(f"{entry.file}: the model does not give a finite score for each label")
        elif (label := bundle.manifest.labels[int(scores.argmax())]) != entry.label:
            others.append(f"{entry.file}: it is labelled {label!r} here, and {entry.label!r} by PyTorch")
    allowed = math.ceil(len(entries) * (1 - tolerance.agreement) - 1e-6)
    return PictureCheck(len(entries), "; ".join(wrong + (others if len(others) > allowed else [])))


def _difference(recorded: NDArray[Any], found: NDArray[Any], preprocess: Preprocess, *, lossy: bool) -> str:
    """What makes one tensor another; empty if they are the same, or as good as that for a lossy picture."""
    if (recorded.dtype, recorded.shape) != (found.dtype, found.shape):
        return f"{found.dtype} of shape {found.shape} for {recorded.dtype} of shape {recorded.shape}"
    if np.array_equal(recorded, found):
        return ""
    apart = np.abs(found.astype(np.float64) - recorded.astype(np.float64))
    most = float((apart * _levels(recorded, preprocess.std)).max())
    if lossy and most <= JPEG_LEVELS:
        return ""
    return f"it differs by up to {most:.3g} of 255 levels"


def _levels(tensor: NDArray[Any], std: Sequence[float]) -> NDArray[np.float64]:
    """How many of a pixel's 255 levels a difference of one is, of a shape that broadcasts over the tensor."""
    if np.issubdtype(tensor.dtype, np.integer):
        return np.ones(1)
    return 255 * np.array(std, np.float64)[:, None, None]


def _scores(bundle: Bundle, session: InferenceSession, tensor: NDArray[Any]) -> NDArray[Any] | None:
    """The session's scores of one tensor, shape (classes,); None if they are not that, or not finite."""
    answers = session.run(np.ascontiguousarray(tensor[None]))
    scores = answers.get(bundle.manifest.outputs[0].name)
    if scores is None or scores.shape != (1, len(bundle.manifest.labels)) or not np.isfinite(scores).all():
        return None
    return scores[0]
