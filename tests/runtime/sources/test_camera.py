import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.errors import FrameError, InputError, MissingDependency
from edgeproof.runtime.inference.runner import Prediction
from edgeproof.runtime.sources import camera as cameras
from edgeproof.runtime.sources.camera import Camera, is_camera, open_camera
from edgeproof.runtime.testing import FakeCamera, fake_runner


def picture(share):
    return Image.new("RGB", (8, 8), (round(255 * share),) * 3)


def numbers(frames):
    """Of each frame its number, negative where it cannot be read."""
    found = []
    for frame in frames:
        try:
            frame.read()
            found.append(frame.number)
        except FrameError:
            found.append(-frame.number)
    return found


def test_the_newest_picture_is_given_and_the_others_are_counted():
    fake = FakeCamera([[picture(i / 10) for i in range(10)]])
    camera = fake.camera()
    assert fake.over.wait(30)
    frames = iter(camera)
    newest, lost = next(frames), next(frames)
    assert (newest.source, newest.number, camera.dropped) == ("camera:fake", 9, 9)
    assert newest.read().getpixel((0, 0)) == (230, 230, 230)
    with pytest.raises(FrameError, match="tried again"):
        lost.read()
    camera.close()
    assert list(frames) == []
    assert fake.released == 1


def test_a_camera_that_comes_back_is_numbered_on():
    fake = FakeCamera([[picture(0)] * 3, None, None, [picture(1)] * 4])
    camera = fake.camera()
    assert fake.over.wait(30)
    frames = iter(camera)
    last = next(frame for frame in frames if frame.number >= 6)
    assert last.read().getpixel((0, 0)) == (255, 255, 255)
    assert fake.tries >= 4
    camera.close()
    list(frames)
    assert fake.released == 2


def test_one_loss_is_told_once_however_often_it_is_tried_again():
    fake = FakeCamera([[picture(0)], [], [], None, []])
    camera = fake.camera()
    assert fake.over.wait(30)
    frames = iter(camera)
    assert numbers([next(frames), next(frames)]) == [0, -1]
    threading.Timer(0.05, camera.close).start()
    assert list(frames) == []


def test_the_delay_between_two_tries_has_a_limit(monkeypatch):
    """Doubled without one, the thirtieth try would come after days."""
    monkeypatch.setattr(cameras, "MAX_RECONNECT_SECONDS", 0.004)
    fake, often = FakeCamera([[picture(0)]]), threading.Event()

    def connect():
        if fake.tries >= 30:
            often.set()
        return fake.connect()

    camera = Camera("camera:fake", connect, delay=0.001)
    assert often.wait(30)
    camera.close()


def test_a_camera_that_cannot_be_opened_at_first_is_refused():
    with pytest.raises(InputError, match="cannot be opened"):
        FakeCamera([None]).camera()


def test_a_driver_that_raises_is_a_camera_that_went_away():
    def read():
        raise RuntimeError("select() timeout")

    released = threading.Event()
    camera = Camera("camera:0", lambda: SimpleNamespace(read=read, release=released.set), delay=0.001)
    frames = iter(camera)
    assert numbers([next(frames)]) == [0]
    camera.close()
    assert released.wait(30)


def test_a_runner_labels_a_camera_until_it_is_stopped():
    fake = FakeCamera([[picture(0)] * 2, [picture(1)] * 3])
    with fake_runner() as runner:
        results = []
        for result in runner.stream(fake.camera()):
            results.append(result)
            if isinstance(result, Prediction) and result.frame == 4:
                runner.stop()
    assert [r.top[0].label for r in results if isinstance(r, Prediction)][-1] == "bright"
    assert [r.frame for r in results] == sorted(r.frame for r in results)
    labelled = sum(isinstance(result, Prediction) for result in results)
    assert labelled + runner.totals.dropped == 5


def test_a_runner_counts_what_all_of_its_cameras_dropped():
    dropped = 0
    with fake_runner() as runner:
        for count in (4, 7):
            fake = FakeCamera([[picture(0)] * count])
            camera = fake.camera()
            assert fake.over.wait(30)
            stream = runner.stream(camera)
            next(stream)
            camera.close()
            list(stream)
            dropped += count - 1
            assert runner.totals.dropped == dropped


# --- by OpenCV --------------------------------------------------------------------------------------


@pytest.fixture
def opencv(monkeypatch):
    """An OpenCV whose captures note how they were opened."""
    opened = []

    class VideoCapture:
        def __init__(self, *arguments):
            opened.append(arguments)

        def isOpened(self):  # noqa: N802 - OpenCV's own name
            return fake.works

        def read(self):
            return True, np.zeros((2, 2, 3), np.uint8)

        def release(self):
            pass

    fake = SimpleNamespace(
        VideoCapture=VideoCapture,
        getBuildInformation=lambda: f"    GStreamer:                   {fake.gstreamer}\n",
        __version__="4.9.0",
        CAP_V4L2=200,
        CAP_GSTREAMER=1800,
        CAP_FFMPEG=1900,
        CAP_PROP_OPEN_TIMEOUT_MSEC=53,
        CAP_PROP_READ_TIMEOUT_MSEC=54,
        works=True,
        gstreamer="YES (1.20.3)",
        opened=opened,
    )
    monkeypatch.setitem(sys.modules, "cv2", fake)
    return fake


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("camera:0", (0, 200)),
        ("camera:/dev/video2", ("/dev/video2", 200)),
        ("gstreamer:videotestsrc ! appsink", ("videotestsrc ! appsink", 1800)),
        ("rtsp://10.0.0.2/live", ("rtsp://10.0.0.2/live", 1900, [53, 10_000, 54, 10_000])),
    ],
)
def test_each_kind_of_camera_is_opened_in_its_own_way(opencv, source, arguments):
    assert is_camera(source)
    camera = open_camera(source)
    camera.close()
    assert opencv.opened[0] == arguments
    assert camera.name == source


def test_a_password_is_not_repeated(opencv):
    camera = open_camera("rtsp://user:se:cret@10.0.0.2:554/live")
    camera.close()
    assert opencv.opened[0][0] == "rtsp://user:se:cret@10.0.0.2:554/live"
    assert camera.name == "rtsp://user:***@10.0.0.2:554/live"
    opencv.works = False
    with pytest.raises(InputError) as caught:
        open_camera("rtsp://user:se:cret@10.0.0.2:554/live")
    assert "cret" not in str(caught.value)


def test_a_build_without_gstreamer_says_so(opencv):
    opencv.gstreamer = "NO"
    with pytest.raises(InputError, match="built without GStreamer") as caught:
        open_camera("gstreamer:videotestsrc ! appsink")
    assert "apt install python3-opencv" in str(caught.value)


def test_a_camera_without_a_number_is_refused(opencv):
    with pytest.raises(InputError, match="no number"):
        open_camera("camera:")


def test_without_opencv_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match="OpenCV") as caught:
        open_camera("camera:0")
    assert 'pip install "edgeproof[video]"' in str(caught.value)


@pytest.mark.parametrize("path", ["camera.jpg", "a/camera:0", "rtsp.mp4", "-"])
def test_other_sources_are_no_cameras(path):
    assert not is_camera(path)
