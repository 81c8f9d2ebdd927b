"""From pictures, or tensors, to labels, with a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..bundle.bundle import Bundle
from ..errors import BundleError, FrameError, InputError, ProofError, TensorError
from ..providers.placement import Placement
from ..providers.request import AUTO, ProviderRequest, Shape
from ..session.pool import open_sessions
from ..session.session import probabilities
from ..sources.frames import Frame, Sample, Source, require_input
from ..sources.source import Inputs
from .concurrency import Concurrency, choose_concurrency
from .results import BadFrame, Prediction, Score, Totals
from .workers import OrderedWorkers

__all__ = ["BadFrame", "Model", "Prediction", "Runner", "Score", "Totals"]

UPRIGHT = 1  # EXIF's orientation of a picture that is stored as it is seen

Visit = Callable[[Prediction, "Image.Image | None"], None]


class Model(Protocol):
    """What a runner needs of a session; `edgeproof.runtime.testing.FakeSession` is one without a provider."""

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        ...

    @property
    def precision(self) -> str:
        """fp32, fp16 or int8."""
        ...

    @property
    def input_shape(self) -> Shape:
        """Shape of its input; an axis that may vary is not an int."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of its outputs."""
        ...

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Infer one batch; called by several threads at once if there are several streams."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


@dataclass(frozen=True)
class _Ready:
    """A frame on its way: preprocessed, or the reason why not."""

    frame: Frame
    tensor: NDArray[Any] | None = None
    picture: Image.Image | None = None
    sideways: bool = False
    error: str = ""


_Answer = tuple[_Ready, "Prediction | BadFrame"]


class Runner:
    """A bundle, ready to label pictures or tensors. Open with `Runner.open`, use in a `with` block.

        with Runner.open("artifacts/mobilenet_v3") as runner:
            for result in runner.stream("photos/"):
                print(result)

    Args:
        bundle: what the model is.
        model: the session that runs it.
        request: how that session was opened.
        top: how many classes to give.
        workers: threads that decode and preprocess; None for one a core.

    Attributes:
        bundle: the bundle that is run.
        concurrency: thread counts and batch size of `stream`.
        totals: counts of frames over all streams so far.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: Model,
        request: ProviderRequest | None = None,
        *,
        top: int = 5,
        workers: int | None = None,
    ) -> None:
        promised = {output.name for output in bundle.manifest.outputs}
        if not promised <= set(model.output_names) or not bundle.manifest.labels:
            raise BundleError(
                "The manifest does not describe its model.",
                wanted=f"outputs {', '.join(sorted(promised))}, and a label for each class",
                got=f"outputs {', '.join(model.output_names)}, {len(bundle.manifest.labels)} labels",
            )
        self.bundle = bundle
        self.concurrency: Concurrency = choose_concurrency(
            request or ProviderRequest(), model.placement, model.input_shape, workers
        )
        self.totals = Totals()
        self._model = model
        self._preprocess = bundle.manifest.preprocess
        self._output = bundle.manifest.outputs[0]
        self._top = top
        self._running: list[tuple[Source, OrderedWorkers[Frame, _Ready]]] = []
        self._stopped = False

    @classmethod
    def open(
        cls,
        bundle: Bundle | Path | str,
        *,
        precision: str | None = None,
        provider: ProviderRequest | str = AUTO,
        top: int = 5,
        workers: int | None = None,
    ) -> Runner:
        """Open a bundle on the best provider of this machine, or on the one that is asked for.

        Args:
            bundle: a bundle, or its folder.
            precision: fp32, fp16 or int8; None for the one that suits the provider: TensorRT runs that of the
                verdict, CUDA fp16, and the CPU fp32, or int8 that was made for it.
            provider: where to run it; a name alone stands for a request with that provider. Its
                `batches.usual` is the most frames that go together. Its `threads` compute one inference:
                None stands for one thread here, and as many inferences at once as there are cores, which
                labels the most frames; more threads label a single frame sooner. Its `streams` are the
                inferences at once.
            top: how many classes to give.
            workers: threads that decode and preprocess; None for one a core.

        Raises:
            BundleError: the bundle does not verify.
            InputError: it does not hold that precision, or there is no such provider.
            PlacementError: the provider cannot be used here, or leaves nodes to another.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle)
        request = ProviderRequest(provider) if isinstance(provider, str) else provider
        request = replace(request, precision=precision or request.precision, threads=request.threads or 1)
        return cls(bundle, open_sessions(bundle, request), request, top=top, workers=workers)

    @property
    def placement(self) -> Placement:
        """Which provider runs which nodes."""
        return self._model.placement

    @property
    def precision(self) -> str:
        """In which it runs: fp32, fp16 or int8."""
        return self._model.precision

    def predict(self, sample: Sample, *, source: str = "", frame: int = 0) -> Prediction:
        """Label one picture, or one tensor that is an input of the model as it is.

        Raises:
            InputError: a picture for a model that takes tensors, or a tensor that does not fit.
            ImageError: the picture cannot be preprocessed faithfully.
            TensorError: the tensor holds NaN or Inf.
            ProofError: the model answers NaN or Inf.
        """
        given = Frame(source, frame, lambda: sample)
        (scores,) = self._scores([_Ready(given, self._prepared(sample))])
        return self._prediction(given, scores)

    def stream(
        self,
        source: str | Path | Source | Iterable[str | Path | Frame],
        *,
        visit: Visit | None = None,
    ) -> Iterator[Prediction | BadFrame]:
        """Label frame after frame, in their order; what cannot be read gives a BadFrame and the rest goes on.

        Threads decode and preprocess ahead of inference, a bounded number of frames. Of files none is ever
        dropped; a live camera gives its newest picture and counts the others in `totals.dropped`.

        Args:
            source: a source as the command line takes it (a file, a folder, a glob, `camera:0`, `rtsp://...`,
                `-` for paths on stdin); a Path, which is one file; several of these; frames of your own; or
                any `Source`.
            visit: called with every prediction and its picture (None for a tensor) before it is given, in
                several threads at once.

        Raises:
            InputError: a source does not exist, or a tensor does not fit the model.
            MissingDependency: a video or a camera is named, and OpenCV is not installed.
            ProofError: the model answers NaN or Inf.
        """
        if self._stopped:
            return
        with ExitStack() as stack:
            frames = self._open(source)
            prepare = partial(self._read, keep=visit is not None)
            threads = self.concurrency
            ready = stack.enter_context(
                OrderedWorkers(prepare, frames, workers=threads.workers, depth=threads.read_ahead)
            )
            groups = iter(partial(ready.take_ready, threads.batch), [])
            answers = stack.enter_context(
                OrderedWorkers(self._answer, groups, workers=threads.streams, depth=2 * threads.streams)
            )
            results: Iterable[_Answer] = chain.from_iterable(answers)
            if visit is not None:
                visited = OrderedWorkers(
                    partial(_visited, visit), results, workers=threads.workers, depth=threads.workers
                )
                results = stack.enter_context(visited)
            stack.enter_context(self._stoppable(frames, ready))
            yield from self._counted(frames, results)

    def stop(self) -> None:
        """End every stream after the frames that are under way, and start none any more.

        A signal's handler may call it. To end one stream alone, close its iterator.
        """
        self._stopped = True
        for source, stage in list(self._running):
            stage.stop()
            source.close()

    def close(self) -> None:
        """End the streams and release the model."""
        self.stop()
        self._model.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, source: str | Path | Source | Iterable[str | Path | Frame]) -> Source:
        if isinstance(source, Source):
            return source
        tensor, pictures = self.bundle.manifest.input, self._preprocess is not None
        if isinstance(source, Path):
            return Inputs([source], tensor, pictures=pictures)
        if isinstance(source, str):
            return Inputs.open([source], tensor, pictures=pictures)
        if isinstance(source, list):
            names = [one for one in source if isinstance(one, str)]
            if names and len(names) == len(source):
                return Inputs.open(names, tensor, pictures=pictures)
        return Inputs(source, tensor, pictures=pictures)

    @contextmanager
    def _stoppable(self, source: Source, stage: OrderedWorkers[Frame, _Ready]) -> Iterator[None]:
        """Let `stop` reach a stream; and before its stages are closed, free those who wait for a frame."""
        running = (source, stage)
        self._running.append(running)
        if self._stopped:
            self.stop()
        try:
            yield
        finally:
            self._running.remove(running)
            stage.stop()
            source.close()

    def _counted(self, source: Source, results: Iterable[_Answer]) -> Iterator[Prediction | BadFrame]:
        before = self.totals.dropped
        for ready, result in results:
            self.totals.bad += isinstance(result, BadFrame)
            self.totals.labelled += isinstance(result, Prediction)
            self.totals.sideways += ready.sideways
            self.totals.dropped = before + source.dropped
            yield result
        self.totals.dropped = before + source.dropped

    def _read(self, frame: Frame, *, keep: bool) -> _Ready:
        try:
            tensor = self._captured(frame)
            if tensor is not None and not keep:
                return _Ready(frame, tensor)
            sample = frame.read()
            sideways = self._is_sideways(sample)
            picture = sample if keep and isinstance(sample, Image.Image) else None
            return _Ready(frame, self._prepared(sample) if tensor is None else tensor, picture, sideways)
        except FrameError as error:
            return _Ready(frame, error=str(error))

    def _captured(self, frame: Frame) -> NDArray[Any] | None:
        """A camera's pixels where they are the model's tensor; None where Pillow must work on them."""
        if frame.captured is None or self._preprocess is None:
            return None
        fits = self._preprocess.takes_as_it_is(*frame.captured.size)
        return frame.captured.pixels(self._preprocess.color) if fits else None

    def _is_sideways(self, sample: Sample) -> bool:
        if isinstance(sample, np.ndarray) or self._preprocess is None or self._preprocess.exif_transpose:
            return False
        return sample.getexif().get(ExifTags.Base.Orientation, UPRIGHT) != UPRIGHT

    def _prepared(self, sample: Sample) -> NDArray[Any]:
        if isinstance(sample, np.ndarray):
            _require_finite(require_input(sample, self.bundle.manifest.input))
            return sample
        if self._preprocess is None:
            raise InputError(f"The bundle {self.bundle.manifest.name} takes tensors, not pictures.")
        return self._preprocess(sample)

    def _answer(self, group: list[_Ready]) -> list[_Answer]:
        """Answers to frames that were ready together; those of one shape are inferred as one batch."""
        answers: list[_Answer] = []
        for shape, same in groupby(group, lambda ready: None if ready.tensor is None else ready.tensor.shape):
            batch = list(same)
            if shape is None:
                answers += [
                    (r, BadFrame(r.frame.source, r.frame.number, _seconds(r.frame), r.error)) for r in batch
                ]
            else:
                scores = self._scores(batch)
                answers += [(r, self._prediction(r.frame, row)) for r, row in zip(batch, scores, strict=True)]
        return [(replace(ready, tensor=None), result) for ready, result in answers]

    def _scores(self, batch: list[_Ready]) -> NDArray[np.floating]:
        """Probabilities, shape (N, classes)."""
        tensors = [ready.tensor for ready in batch if ready.tensor is not None]
        if self.concurrency.padded:
            tensors += [tensors[-1]] * (self.concurrency.batch - len(tensors))
        stacked = np.stack(tensors) if len(tensors) > 1 else np.ascontiguousarray(tensors[0][None])
        scores = probabilities(self._model.run(stacked), self._output.name, self._output.scores)
        for ready, row in zip(batch, scores, strict=False):
            if not np.isfinite(row).all():
                raise ProofError(
                    f"The model answers {ready.frame.source or 'the input'} with NaN or Inf.",
                    todo="edgeproof verify BUNDLE   (then try another --precision)",
                )
        return scores[: len(batch)]

    def _prediction(self, frame: Frame, scores: NDArray[np.floating]) -> Prediction:
        labels = self.bundle.manifest.labels
        order = np.argsort(-scores, kind="stable")[: self._top]
        return Prediction(
            source=frame.source,
            frame=frame.number,
            time=_seconds(frame),
            top=tuple(Score(int(i), labels[i], round(float(scores[i]), 6)) for i in order),
            latency_ms=round(1000 * (time.perf_counter() - frame.start), 3),
            provider=self.placement.label,
            fallback=self.placement.fallback,
        )


def _require_finite(tensor: NDArray[Any]) -> None:
    """Refuse NaN and Inf, which INT8 would round to a label. A picture's pixels cannot hold them."""
    if np.issubdtype(tensor.dtype, np.floating) and not np.isfinite(tensor).all():
        count = tensor.size - np.count_nonzero(np.isfinite(tensor))
        raise TensorError(f"The tensor holds {count} NaN or Inf.", wanted="finite numbers")


def _visited(visit: Visit, answer: _Answer) -> _Answer:
    ready, result = answer
    if isinstance(result, Prediction):
        visit(result, ready.picture)
    return replace(ready, picture=None), result


def _seconds(frame: Frame) -> float:
    return round(frame.time, 3)
