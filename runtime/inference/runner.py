"""From pictures, or tensors, to answers, with a bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..bundle.bundle import Bundle
from ..errors import BundleError, ProofError
from ..providers.placement import Placement
from ..providers.registry import AUTO
from ..providers.request import ProviderRequest, as_request
from ..session.base import InferenceSession
from ..session.pool import open_sessions
from ..sources.frames import Frame, Sample, Source, sample_of
from ..sources.source import Item, SourceChain, open_source, single_frame
from ..tasks.base import View
from .concurrency import Concurrency, choose_concurrency
from .frame_reader import FrameReader, ReadFrame
from .results import BadFrame, Prediction, Score, Totals
from .workers import OrderedWorkers

__all__ = ["BadFrame", "Prediction", "Runner", "Score", "Totals"]

Visit = Callable[[Prediction, "Image.Image | None"], None]

_Result = tuple[ReadFrame, "Prediction | BadFrame"]


class Runner:
    """A bundle that is ready to answer pictures or tensors. Open it with `Runner.open`, in a `with` block.

        with Runner.open("artifacts/mobilenet_v3") as runner:
            print(runner.predict("dog.jpg").top[0].label)
            for result in runner.stream("photos/"):
                print(result)

    Args:
        bundle: what the model is.
        session: runs it.
        request: how that session was opened.
        top: how many classes to give, at the most.
        workers: threads that decode and preprocess; None for one a core.
        streams: threads that infer; None for as many as the CPU has cores for, and one on a GPU.

    Attributes:
        bundle: the bundle that is run.
        concurrency: thread counts and batch size of `stream`.
        totals: counts of frames over all streams so far.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: InferenceSession,
        request: ProviderRequest | None = None,
        *,
        top: int = 5,
        workers: int | None = None,
        streams: int | None = None,
    ) -> None:
        promised = {output.name for output in bundle.manifest.outputs}
        if not promised <= set(session.output_names):
            raise BundleError(
                "The manifest does not describe its model.",
                wanted=f"outputs {', '.join(sorted(promised))}",
                got=f"outputs {', '.join(session.output_names)}",
            )
        self.bundle = bundle
        self.concurrency: Concurrency = choose_concurrency(
            request or ProviderRequest(),
            session.placement,
            session.input_shape,
            workers=workers,
            streams=streams,
        )
        self.totals = Totals()
        self._session = session
        self._reader = FrameReader(bundle)
        self._task = bundle.task
        self._view = View(bundle.manifest.labels, bundle.manifest.outputs, top=top)
        self._running: list[tuple[Source, OrderedWorkers[Frame, ReadFrame]]] = []
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
        streams: int | None = None,
    ) -> Runner:
        """Open a bundle on the best provider of this machine, or on the requested one.

        Args:
            bundle: a bundle, or its folder.
            precision: fp32, fp16 or int8; None for the one that suits the provider: TensorRT runs that of the
                verdict, CUDA fp16, and the CPU fp32, or int8 that was made for it.
            provider: where to run it; a name alone stands for a request with that provider. Its
                `engine.batches.usual` is the most frames in one inference. Its `threads` compute one
                inference; None stands for one thread here, which labels the most frames in all. More threads
                label a single frame sooner.
            top: how many classes to give.
            workers: threads that decode and preprocess; None for one a core.
            streams: inferences at once; None for as many as the CPU has cores for, and one on a GPU, where
                each further one has a session of its own.

        Raises:
            BundleError: the bundle does not verify.
            InputError: it does not hold that precision, or there is no such provider.
            PlacementError: the provider cannot be used here, or leaves nodes to another.
            MissingDependency: ONNX Runtime is not installed.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(bundle)
        request = as_request(provider)
        request = replace(request, precision=precision or request.precision, threads=request.threads or 1)
        session = open_sessions(bundle, request, streams or 1)
        return cls(bundle, session, request, top=top, workers=workers, streams=streams)

    @property
    def placement(self) -> Placement:
        """Which provider runs which nodes."""
        return self._session.placement

    @property
    def classes(self) -> int:
        """How many classes `Prediction.top` holds; 0 where the task gives none."""
        outputs = self._view.outputs
        classes = outputs[0].shape[-1] if self._task.ranks(outputs) else 0
        return min(self._view.top, classes) if isinstance(classes, int) else self._view.top

    @property
    def precision(self) -> str:
        """Precision of the model that runs: fp32, fp16 or int8."""
        return self._session.precision

    def predict(self, sample: Sample | str | Path, *, source: str = "", frame: int = 0) -> Prediction:
        """Label one picture or tensor.

        Args:
            sample: the path of a file that holds one; a picture of Pillow's; a uint8 array of shape (height,
                width, 3), which is a picture in RGB; or an array that is an input of the model as it is,
                without the batch. A bundle without a preprocessing takes only such tensors.
            source, frame: what the prediction says of its origin; the path where there is one.

        Raises:
            InputError: it is none of these, or a file that holds several.
            ImageError: the picture cannot be read, or not be preprocessed faithfully.
            TensorError: the array is no picture and does not fit the model, or holds NaN or Inf.
            ProofError: the model answers NaN or Inf.
        """
        manifest = self.bundle.manifest
        tensor, pictures = manifest.input, manifest.preprocess is not None
        if isinstance(sample, (str, Path)):
            given = single_frame(Path(sample), tensor, pictures=pictures)
            given = replace(given, source=source or given.source, number=frame)
        else:
            given = Frame.from_sample(source, frame, sample_of(sample, tensor, pictures=pictures))
        ready = self._reader.prepare(given, keep_picture=False)
        (answer,) = self._answers([ready])
        return self._prediction(ready, answer)

    def stream(
        self, source: Source | Item | Iterable[Item], *, visit: Visit | None = None
    ) -> Iterator[Prediction | BadFrame]:
        """Label frame after frame, in their order; a frame that cannot be read gives a BadFrame.

        Threads decode and preprocess a bounded number of frames ahead of inference. No frame of a file is
        ever dropped; a live camera gives its newest picture and counts the others in `totals.dropped`.

        Args:
            source: a source as the command line takes it (a file, a folder, a glob, `camera:0`, `rtsp://...`,
                `-` for paths on stdin); a Path, which is one file; a picture or an array as `predict` takes
                it; a list or another iterable of any of these, or an array of them along a first axis;
                or frames of your own, or any `Source` of them.
            visit: called with every prediction and its picture (None for a tensor) before it is given, in
                several threads at once.

        Raises:
            InputError: a source does not exist, or is of a type that is not taken.
            MissingDependency: a video or a camera is named, and OpenCV is not installed.
            ProofError: the model answers NaN or Inf.
        """
        if self._stopped:
            return
        manifest = self.bundle.manifest
        with ExitStack() as stack:
            frames = open_source(source, manifest.input, pictures=manifest.preprocess is not None)
            read = partial(self._reader.read, keep_picture=visit is not None)
            threads = self.concurrency
            ready = stack.enter_context(
                OrderedWorkers(read, frames, workers=threads.workers, depth=threads.read_ahead)
            )
            groups = iter(partial(ready.take_ready, threads.batch), [])
            batches = stack.enter_context(
                OrderedWorkers(self._label, groups, workers=threads.streams, depth=2 * threads.streams)
            )
            results: Iterable[_Result] = chain.from_iterable(batches)
            if visit is not None:
                visited = OrderedWorkers(
                    partial(_visited, visit), results, workers=threads.workers, depth=threads.workers
                )
                results = stack.enter_context(visited)
            stack.enter_context(self._stoppable(frames, ready))
            yield from self._counted(frames, results)

    def stop(self) -> None:
        """End every stream after the frames that are under way; no further stream starts.

        A signal's handler may call it. To end only one stream, close its iterator.
        """
        self._stopped = True
        for source, workers in list(self._running):
            workers.stop()
            source.close()

    def close(self) -> None:
        """End the streams and release the model."""
        self.stop()
        self._session.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _stoppable(self, source: Source, workers: OrderedWorkers[Frame, ReadFrame]) -> Iterator[None]:
        """Let `stop` reach a stream; and when it ends, wake the workers that wait for a frame."""
        running = (source, workers)
        self._running.append(running)
        if self._stopped:
            self.stop()
        try:
            yield
        finally:
            self._running.remove(running)
            workers.stop()
            source.close()

    def _counted(self, source: Source, results: Iterable[_Result]) -> Iterator[Prediction | BadFrame]:
        before, skipped = self.totals.dropped, self.totals.skipped
        for ready, result in results:
            self.totals.bad += isinstance(result, BadFrame)
            self.totals.labelled += isinstance(result, Prediction)
            self.totals.rotation_ignored += ready.rotation_ignored
            self.totals.dropped = before + source.dropped
            yield result
        self.totals.dropped = before + source.dropped
        self.totals.skipped = skipped + (source.skipped if isinstance(source, SourceChain) else 0)

    def _label(self, group: list[ReadFrame]) -> list[_Result]:
        """Label frames that were ready together; those of one shape are inferred as one batch."""
        results: list[_Result] = []
        for shape, same in groupby(group, lambda ready: None if ready.tensor is None else ready.tensor.shape):
            batch = list(same)
            if shape is None:
                results += [(ready, _bad_frame(ready)) for ready in batch]
            else:
                answers = zip(batch, self._answers(batch), strict=True)
                results += [(ready, self._prediction(ready, answer)) for ready, answer in answers]
        return [(replace(ready, tensor=None), result) for ready, result in results]

    def _answers(self, batch: list[ReadFrame]) -> list[Any]:
        """What the task reads from the model's outputs, one answer a frame."""
        tensors = [ready.tensor for ready in batch if ready.tensor is not None]
        if self.concurrency.padded:
            tensors += [tensors[-1]] * (self.concurrency.batch - len(tensors))
        stacked = np.stack(tensors) if len(tensors) > 1 else np.ascontiguousarray(tensors[0][None])
        found = self._session.run(stacked)
        outputs = {spec.name: found[spec.name][: len(batch)] for spec in self._view.outputs}
        for name, values in outputs.items():
            _require_finite(name, values, batch)
        return self._task.decode(outputs)

    def _prediction(self, ready: ReadFrame, answer: Any) -> Prediction:
        frame, view = ready.frame, replace(self._view, geometry=ready.geometry)
        return Prediction(
            source=frame.source,
            frame=frame.number,
            time=_seconds(frame),
            row=self._task.row(answer, view),
            latency_ms=round(1000 * (time.perf_counter() - frame.start), 3),
            provider=self.placement.label,
            fallback=self.placement.fallback,
            answer=answer,
            view=view,
            task=self._task,
        )


def _require_finite(name: str, values: NDArray[Any], batch: list[ReadFrame]) -> None:
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = next(i for i, sample in enumerate(values) if not np.isfinite(sample).all())
    raise ProofError(
        f"The model answers {batch[bad].frame.source or 'the input'} with NaN or Inf.",
        got=f"output {name!r}",
        todo="edgeproof verify BUNDLE   (then try another --precision)",
    )


def _bad_frame(ready: ReadFrame) -> BadFrame:
    return BadFrame(ready.frame.source, ready.frame.number, _seconds(ready.frame), ready.error)


def _visited(visit: Visit, labelled: _Result) -> _Result:
    ready, result = labelled
    if isinstance(result, Prediction):
        visit(result, ready.picture)
    return replace(ready, picture=None), result


def _seconds(frame: Frame) -> float:
    return round(frame.time, 3)
