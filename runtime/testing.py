"""Fakes for tests: a runner without a provider, frames from memory, a camera.

    def test_my_loop_counts_what_it_cannot_read():
        picture = Image.new("RGB", (8, 8), "red")
        with fake_runner(labels=("red", "blue")) as runner:
            results = list(runner.stream(memory([picture, ImageError("torn")])))
        assert [type(result) for result in results] == [Prediction, BadFrame]

The fakes obey the same protocols as the real objects; everything between them is the real code.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle.bundle import Bundle
from .bundle.manifest import SCHEMA, FileEntry, Manifest, ModelEntry, OutputSpec, TensorSpec, Verdict
from .bundle.parity import Parity, Tolerance
from .bundle.preprocess import Preprocess
from .bundle.shapes import require_fit
from .errors import FrameError, InputError
from .inference.runner import Runner
from .providers.base import Shape
from .providers.placement import Placement
from .providers.request import ProviderRequest
from .sources.camera import Camera
from .sources.frames import MEMORY, Frame, Sample, failed_frame

INPUT, OUTPUT = "input", "scores"
SIDE = 8
BATCHES_KEPT = 10_000

Answer = Callable[[NDArray[Any]], NDArray[Any]]


class FakeSession:
    """A session whose answers are those of a Python function.

    Args:
        answer: from a batch to scores of shape (N, classes), as a model's logits.
        shape: of the input; an axis that may vary is not an int.
        dtype: numpy's name of the input's type.
        placement: where it claims to run.

    Attributes:
        batches: the sizes of the last batches that were run, in the order in which they came.
        closed: whether it was closed.
    """

    output_names: tuple[str, ...] = (OUTPUT,)
    precision: str = "fp32"

    def __init__(
        self,
        answer: Answer,
        *,
        shape: Shape = ("batch", 3, SIDE, SIDE),
        dtype: str = "float32",
        placement: Placement | None = None,
    ) -> None:
        self.input_shape = shape
        self.input_dtype = dtype
        self.placement: Placement = placement or Placement("cpu", "cpu", {})
        self.batches: deque[int] = deque(maxlen=BATCHES_KEPT)
        self.closed = False
        self._answer = answer

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The function's answers.

        Raises:
            InputError: the batch does not fit `shape` and `dtype`, or the session is closed.
        """
        if self.closed:
            raise InputError("The session is closed.")
        message = "The input does not fit the model."
        require_fit(batch, self.input_shape, self.input_dtype, InputError, message)
        self.batches.append(len(batch))
        return {OUTPUT: self._answer(batch)}

    def close(self) -> None:
        """Take no more batches."""
        self.closed = True


def fake_bundle(labels: Sequence[str] = ("dark", "bright"), *, pictures: bool = True) -> Bundle:
    """A bundle without files, for inputs of shape (3, 8, 8) in -1..1.

    Args:
        labels: one for each class.
        pictures: whether it comes with a preprocessing; without one it takes tensors.
    """
    preprocess = Preprocess(resize=SIDE, crop=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.5,) * 3)
    nothing = FileEntry("golden.npz", "0" * 64, 0)
    manifest = Manifest(
        schema=SCHEMA,
        name="fake",
        architecture="fake",
        form="small",
        edgeproof="",
        created="",
        weights={},
        data={},
        input=TensorSpec(INPUT, ("batch", 3, SIDE, SIDE), "float32"),
        outputs=(OutputSpec(OUTPUT, ("batch", len(labels)), "float32"),),
        preprocess=preprocess if pictures else None,
        labels=tuple(labels),
        models={
            "fp32": ModelEntry(
                "model.fp32.onnx", "0" * 64, 0, nodes=1, parity=Parity(True, "", 0, Tolerance(0, 1))
            )
        },
        target=None,
        golden=nothing,
        pictures=(),
        evidence=None,
        verdict=Verdict("fp32", "there is no other"),
        toolchain={},
    )
    return Bundle(Path("fake"), manifest)


def brightness(classes: int) -> Answer:
    """Answers by the mean of the input, -1..1: the first class is the darkest, the last the brightest."""
    centres = np.linspace(-1, 1, classes, dtype=np.float32)
    return lambda batch: -10 * np.abs(batch.mean(axis=(1, 2, 3))[:, None] - centres)


def fake_runner(
    answer: Answer | None = None,
    *,
    labels: Sequence[str] = ("dark", "bright"),
    pictures: bool = True,
    request: ProviderRequest | None = None,
    top: int = 5,
    workers: int | None = None,
    streams: int | None = None,
) -> Runner:
    """A runner with a `FakeSession` and a `fake_bundle`.

    Args:
        answer: from a batch to scores; by default `brightness`.
        labels, pictures: of the bundle.
        request: its `engine.batches` say how many frames go together.
        top, workers, streams: as for `Runner`.
    """
    session = FakeSession(answer or brightness(len(labels)))
    bundle = fake_bundle(labels, pictures=pictures)
    return Runner(bundle, session, request, top=top, workers=workers, streams=streams)


def memory(samples: Iterable[Sample | FrameError], source: str = MEMORY) -> Iterator[Frame]:
    """Frames from pictures or tensors in memory; an error stands for a frame that cannot be read."""
    for number, sample in enumerate(samples):
        if isinstance(sample, FrameError):
            yield failed_frame(source, number, sample)
        else:
            yield Frame.from_sample(source, number, sample)


class FakeCamera:
    """A camera that shows what it is told to, goes away, and comes back.

    Each connection is a list of pictures that are shown as fast as they are read: Pillow's, or arrays as
    OpenCV hands them out. At its end the camera goes away. None in place of a list is a try to reach it that
    fails, and so is every try after the last.

    Args:
        connections: what it shows.

    Attributes:
        tries: how often it was tried to be reached.
        released: how often it was let go of.
        over: set when it has shown everything.
    """

    def __init__(self, connections: Iterable[Sequence[Sample] | None]) -> None:
        self.tries = 0
        self.released = 0
        self.over = threading.Event()
        self._connections = list(connections)

    def camera(self, name: str = "camera:fake", *, delay: float = 0.001, pixel_format: str = "") -> Camera:
        """A live source that reads it.

        Args:
            name: the source in results.
            delay: how long it waits before it tries again, in seconds.
            pixel_format: GStreamer's name of the pictures' format.
        """
        return Camera(name, self.connect, delay=delay, pixel_format=pixel_format)

    def connect(self) -> FakeCapture | None:
        """Reach it, or give None."""
        self.tries += 1
        pictures = self._connections.pop(0) if self._connections else None
        return None if pictures is None else FakeCapture(self, pictures)

    def gone(self) -> None:
        """Note that the pictures of a connection are over."""
        if not self._connections:
            self.over.set()


class FakeCapture:
    """One connection to a `FakeCamera`, with the two methods of `cv2.VideoCapture` that are used."""

    def __init__(self, camera: FakeCamera, pictures: Sequence[Sample]) -> None:
        self._camera = camera
        self._pictures = iter(pictures)

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """The next picture: an array as it is, another one blue first."""
        picture = next(self._pictures, None)
        if picture is None:
            self._camera.gone()
            return False, None
        if isinstance(picture, np.ndarray):
            return True, picture
        return True, np.asarray(picture.convert("RGB"))[:, :, ::-1].copy()

    def release(self) -> None:
        """Let go of the camera."""
        self._camera.released += 1
