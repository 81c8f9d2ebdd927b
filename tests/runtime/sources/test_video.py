import sys

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.errors import ImageError, MissingDependency
from edgeproof.runtime.inference.runner import BadFrame
from edgeproof.runtime.sources.captured import Captured
from edgeproof.runtime.sources.frames import file_frames
from edgeproof.runtime.sources.video import is_video, read_video
from edgeproof.runtime.testing import fake_runner

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 250)] * 3


@pytest.fixture
def film(tmp_path):
    """A video of one colour a frame."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for colour in COLOURS:
        writer.write(np.full((48, 64, 3), colour[::-1], np.uint8))
    writer.release()
    return path


def test_frames_come_in_order_and_in_their_colours(film):
    frames = [captured.image() for captured in read_video(film)]
    assert [frame.size for frame in frames] == [(64, 48)] * len(COLOURS)
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(np.subtract(frame.getpixel((30, 20)), colour)).max() < 12


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_truncated_video_gives_its_frames_and_one_error(film, share):
    data = film.read_bytes()
    film.write_bytes(data[: int(share * len(data))])
    with fake_runner() as runner:
        *good, bad = runner.stream(film)
    assert [result.frame for result in good] == list(range(len(good)))
    assert isinstance(bad, BadFrame)
    assert bad.frame == len(good) < len(COLOURS)
    assert str(film) in bad.error
    assert runner.totals.bad == 1


@pytest.mark.parametrize("data", [b"", b"no video at all", b"RIFF\0\0\0\0AVI "])
def test_what_is_no_video_is_one_bad_frame(tmp_path, data):
    pytest.importorskip("cv2")
    (tmp_path / "film.mp4").write_bytes(data)
    with fake_runner() as runner:
        (bad,) = runner.stream([tmp_path / "film.mp4"])
    assert "is not a video that OpenCV can read" in bad.error


def test_a_missing_video_is_one_bad_frame(tmp_path):
    pytest.importorskip("cv2")
    (frame,) = file_frames(tmp_path / "film.mp4", TensorSpec("x", ("n", 3, 8, 8), "float32"), pictures=True)
    with pytest.raises(ImageError, match="does not exist"):
        frame.read()


def test_an_abandoned_video_is_let_go_of(film):
    frames = read_video(film)
    next(frames)
    frames.close()
    film.unlink()


def test_without_opencv_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency) as caught:
        next(read_video(tmp_path / "film.mp4"))
    assert 'pip install "edgeproof[video]"' in str(caught.value)


def test_blue_comes_first_in_opencv():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[..., 0] = 200
    assert Captured(picture).image().getpixel((0, 0)) == (0, 0, 200)
    assert Captured(picture[..., 0]).image().mode == "L"


@pytest.mark.parametrize("picture", [np.zeros((2, 2, 3), np.uint16), np.zeros((2, 2, 4), np.uint8)])
def test_a_frame_that_is_no_8_bit_picture_is_refused(picture):
    with pytest.raises(ImageError, match="not an 8-bit picture"):
        Captured(picture).image()


@pytest.mark.parametrize(
    ("name", "expected"), [("a.MP4", True), ("a.mkv", True), ("a.gif", False), ("mp4", False)]
)
def test_a_video_is_known_by_its_ending(tmp_path, name, expected):
    assert is_video(tmp_path / name) is expected


def test_annotating_a_video_writes_every_frame(film, tmp_path):
    from edgeproof.runtime.inference.annotate import Annotator

    with fake_runner() as runner:
        list(runner.stream(film, visit=Annotator(tmp_path / "out")))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name.split(".")[-2] for name in names] == [f"{n:06d}" for n in range(len(COLOURS))]
    with Image.open(tmp_path / "out" / names[0]) as picture:
        assert picture.size == (64, 48)
