"""From pictures, or tensors, to labels, with a bundle."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from .bundle import Bundle
from .errors import BundleError, FrameError, InputError, ProofError, TensorError
from .session import Session, probabilities
from .sources import TENSOR_ENDING, picture_endings, read_image, read_tensors

UPRIGHT = 1  # EXIF's orientation of a picture that is stored as it is seen


@dataclass(frozen=True)
class Score:
    """One class with its probability, 0..1."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The best classes of one frame; `latency_ms` spans preprocessing and inference, in milliseconds."""

    source: str
    frame: int
    top: tuple[Score, ...]
    latency_ms: float


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read, and why."""

    source: str
    error: str


class Runner:
    """A bundle, ready to label pictures or tensors. Open with `Runner.open`, use in a `with` block.

    Attributes:
        bundle: the bundle that is run.
        sideways: how many pictures of `stream` noted a rotation that was not carried out.
    """

    def __init__(self, bundle: Bundle, session: Session, top: int = 5) -> None:
        promised = {output.name for output in bundle.manifest.outputs}
        if not promised <= set(session.output_names) or not bundle.manifest.labels:
            raise BundleError(
                "The manifest does not describe its model.",
                wanted=f"outputs {', '.join(sorted(promised))}, and a label for each class",
                got=f"outputs {', '.join(session.output_names)}, {len(bundle.manifest.labels)} labels",
            )
        self.bundle = bundle
        self.sideways = 0
        self._session = session
        self._preprocess = bundle.manifest.preprocess
        self._output = bundle.manifest.outputs[0]
        self._top = top

    @classmethod
    def open(cls, bundle: Bundle | Path | str, *, precision: str | None = None, top: int = 5) -> Runner:
        """Open a bundle at a precision; without one, at that of its verdict.

        Raises:
            BundleError: the bundle does not verify.
            InputError: it does not hold that precision.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle)
        session = Session(bundle.model_bytes(precision or bundle.manifest.verdict.ship))
        return cls(bundle, session, top)

    @property
    def endings(self) -> set[str]:
        """Endings of the files that a folder of inputs may hold."""
        return {TENSOR_ENDING} if self._preprocess is None else {TENSOR_ENDING, *picture_endings()}

    def predict(
        self, sample: Image.Image | NDArray[np.float32], *, source: str = "", frame: int = 0
    ) -> Prediction:
        """Label one picture, or one tensor that is an input of the model as it is.

        Raises:
            InputError: a picture for a model that takes tensors, or a tensor that does not fit.
            ImageError: the picture cannot be preprocessed faithfully.
            ProofError: the model answers NaN or Inf.
        """
        start = time.perf_counter()
        batch = np.ascontiguousarray(self._prepared(sample)[None])
        scores = probabilities(self._session.run(batch), self._output.name, self._output.scores)[0]
        if not np.isfinite(scores).all():
            raise ProofError(
                f"The model answers {source or 'the input'} with NaN or Inf.",
                todo="edgeproof verify BUNDLE   (then try another --precision)",
            )
        latency = 1000 * (time.perf_counter() - start)
        return Prediction(source, frame, self._best(scores), round(latency, 3))

    def stream(self, paths: Iterable[Path]) -> Iterator[Prediction | BadFrame]:
        """Label file after file; one that cannot be read gives a BadFrame and the rest goes on."""
        for path in paths:
            try:
                for frame, sample in enumerate(self._samples(path)):
                    yield self.predict(sample, source=str(path), frame=frame)
            except FrameError as error:
                yield BadFrame(str(path), str(error))

    def close(self) -> None:
        """Release the model."""
        self._session.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _samples(self, path: Path) -> Iterable[Image.Image | NDArray[np.float32]]:
        if path.suffix.lower() == TENSOR_ENDING:
            tensor = self.bundle.manifest.input
            return read_tensors(path, tensor.shape[1:], tensor.dtype)
        if self._preprocess is None:
            raise TensorError(f"{path} is not a tensor.", wanted=f"a {TENSOR_ENDING} file, for this model")
        image = read_image(path)
        rotated = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT
        self.sideways += rotated and not self._preprocess.exif_transpose
        return [image]

    def _prepared(self, sample: Image.Image | NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(sample, np.ndarray):
            return sample
        if self._preprocess is None:
            raise InputError(f"The bundle {self.bundle.manifest.name} takes tensors, not pictures.")
        return self._preprocess(sample)

    def _best(self, scores: NDArray[np.floating]) -> tuple[Score, ...]:
        labels = self.bundle.manifest.labels
        order = np.argsort(-scores, kind="stable")[: self._top]
        return tuple(Score(int(i), labels[i], round(float(scores[i]), 6)) for i in order)
