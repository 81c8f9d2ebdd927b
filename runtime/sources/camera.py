"""Live cameras: the newest picture is kept, and those that it replaces are counted as dropped."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from .captured import Captured
from .frames import Frame, failed_frame
from .opencv import Capture, load_opencv

PREFIXES = ("camera:", "gstreamer:", "rtsp://", "rtsps://")
MIN_RECONNECT_SECONDS, MAX_RECONNECT_SECONDS = (
    0.5,
    30.0,
)  # seconds before a lost camera is tried again; doubled each time
TIMEOUT_MS = 10_000  # milliseconds for a stream from the network to open, and for each of its pictures
JOIN_TIMEOUT = 5.0  # seconds for which the end of the iteration waits for a read in progress

_FORMAT = re.compile(r"(?<![-\w])format\s*=\s*(?:\(string\))?\s*[\"']?(\w+)")
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")


def is_camera(source: str) -> bool:
    """Whether a source names a live camera: camera:0, camera:/dev/video0, gstreamer:..., rtsp://..."""
    return source.startswith(PREFIXES)


def open_camera(source: str) -> Camera:
    """Open a camera through OpenCV.

    Args:
        source: `camera:` and a V4L2 index or device, `gstreamer:` and a pipeline that ends in appsink, or an
            rtsp:// address.

    Raises:
        MissingDependency: OpenCV is not installed.
        InputError: the camera cannot be opened, or this OpenCV is built without GStreamer.
    """
    cv2 = load_opencv()
    arguments = _arguments(cv2, source)

    def connect() -> Capture | None:
        capture = cv2.VideoCapture(*arguments)
        if capture.isOpened():
            return capture
        capture.release()
        return None

    return Camera(_PASSWORD.sub(r"\1:***@", source), connect, pixel_format=sink_format(source))


def sink_format(source: str) -> str:
    """The format in which a pipeline hands out pictures: the last that it names; empty if it names none."""
    named = _FORMAT.findall(source) if source.startswith("gstreamer:") else []
    return named[-1] if named else ""


def _arguments(cv2: Any, source: str) -> tuple[Any, ...]:
    kind, _, rest = source.partition(":")
    if kind == "camera":
        if not rest:
            raise InputError("The camera has no number.", wanted="camera:0, or camera:/dev/video0")
        return (int(rest) if rest.isdecimal() else rest, cv2.CAP_V4L2)
    if kind == "gstreamer":
        if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
            raise InputError(
                f"This OpenCV {cv2.__version__} is built without GStreamer.",
                todo="use the OpenCV of JetPack or of the system (apt install python3-opencv), in an "
                "environment made with --system-site-packages",
            )
        return (rest, cv2.CAP_GSTREAMER)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
    return (source, cv2.CAP_FFMPEG, limits)


class Camera:
    """A live source. A thread reads it all the time; each new picture replaces the one before.

    A camera that goes away gives one frame whose reading raises, and is tried again after a delay that
    doubles each time, for as long as it takes; its frames are then numbered on.

    Args:
        name: the source in results.
        connect: opens the camera, or gives None. `edgeproof.runtime.testing.FakeCamera` has one.
        delay: seconds before the first new try.
        pixel_format: GStreamer's name of its pictures' format, as in `Captured`; empty for OpenCV's own.

    Attributes:
        dropped: pictures that a newer one replaced before they were taken.

    Raises:
        InputError: it cannot be opened at first.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Capture | None],
        *,
        delay: float = MIN_RECONNECT_SECONDS,
        pixel_format: str = "",
    ) -> None:
        first = _reach(connect)
        if first is None:
            raise InputError(
                f"The camera {name} cannot be opened.",
                todo="see whether it is there and free: ls -l /dev/video*, v4l2-ctl --list-devices; in a "
                "container it needs --device",
            )
        self.name = name
        self.dropped = 0
        self._connect = connect
        self._delay = delay
        self._pixel_format = pixel_format
        # A signal's handler may call `close` in a thread that is inside: the lock must be reentrant.
        self._changed = threading.Condition(threading.RLock())
        self._newest: Frame | None = None
        self._lost: Frame | None = None
        self._closed = False
        self._thread = threading.Thread(
            target=self._watch, args=(first,), name="edgeproof-camera", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the iteration, and release the camera as soon as the read in progress returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame
        self._thread.join(JOIN_TIMEOUT)

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lost or self._newest)
            if self._closed:
                return None
            earlier = self._newest and self._lost and self._newest.number < self._lost.number
            if self._lost is None or earlier:
                frame, self._newest = self._newest, None
            else:
                frame, self._lost = self._lost, None
            return frame

    def _watch(self, capture: Capture | None) -> None:
        number, delay = 0, self._delay
        while not self._closed:
            picture = _read(capture) if capture else None
            if picture is not None:
                self._offer(Frame.from_capture(self.name, number, Captured(picture, self._pixel_format)))
                number, delay = number + 1, self._delay
                continue
            if capture:
                capture.release()
            if delay == self._delay:
                self._tell_loss(number)
            self._wait(delay)
            delay = min(2 * delay, MAX_RECONNECT_SECONDS)
            capture = None if self._closed else _reach(self._connect)
        if capture:
            capture.release()

    def _offer(self, frame: Frame) -> None:
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = frame
            self._changed.notify_all()

    def _tell_loss(self, number: int) -> None:
        error = ImageError(f"The camera {self.name} gives no picture; it is tried again until it does.")
        with self._changed:
            self._lost = failed_frame(self.name, number, error)
            self._changed.notify_all()

    def _wait(self, delay: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=delay)


def _reach(connect: Callable[[], Capture | None]) -> Capture | None:
    try:
        return connect()
    except Exception:  # OpenCV raises its own error where a driver fails in the middle
        return None


def _read(capture: Capture) -> NDArray[np.uint8] | None:
    try:
        good, picture = capture.read()
    except Exception:  # OpenCV raises its own error where a driver fails in the middle
        return None
    return picture if good else None
