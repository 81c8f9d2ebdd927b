import io
import os
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.errors import FrameError, InputError, MissingDependency
from edgeproof.runtime.sources import source as inputs
from edgeproof.runtime.sources.frames import Source
from edgeproof.runtime.sources.source import SourceChain
from edgeproof.runtime.testing import FakeCamera, memory

TENSOR = TensorSpec("input", ("batch", 3, 4, 4), "float32")


def opened(*sources, pictures=True):
    return SourceChain.open([str(source) for source in sources], TENSOR, pictures=pictures)


def names(frames):
    return [(frame.source.rpartition("/")[2], frame.number) for frame in frames]


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    np.save(tmp_path / "c.npy", np.zeros((2, 3, 4, 4), np.float32))
    (tmp_path / "notes.txt").write_text("rubbish")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.npy").write_bytes(b"")
    return tmp_path


@pytest.fixture
def stdin(monkeypatch):
    """A pipe in the place of stdin: its writing end."""
    read, write = os.pipe()
    with os.fdopen(read, "r") as reader, os.fdopen(write, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", reader)
        yield writer


def test_a_folder_gives_its_pictures_and_tensors_in_order(folder):
    frames = list(opened(folder))
    assert names(frames) == [("a.jpg", 0), ("b.png", 0), ("c.npy", 0), ("c.npy", 1), ("empty.npy", 0)]
    assert frames[2].read().shape == (3, 4, 4)
    with pytest.raises(FrameError, match=r"is not a \.npy file"):
        frames[4].read()


def test_a_model_that_takes_tensors_finds_only_these_in_a_folder(folder):
    assert names(opened(folder, pictures=False)) == [("c.npy", 0), ("c.npy", 1), ("empty.npy", 0)]


def test_every_source_is_checked_before_the_first_is_read(folder):
    with pytest.raises(InputError, match="There is nothing at"):
        opened(folder, folder / "absent.jpg")
    with pytest.raises(InputError, match="A source is empty"):
        opened("")


@pytest.mark.parametrize("sources", [["-", "a.jpg"], ["camera:0", "-"], ["-", "-"], ["rtsp://a", "camera:0"]])
def test_what_does_not_end_comes_last_and_alone(folder, sources):
    with pytest.raises(InputError, match="does not end by itself"):
        opened(*(folder / name if name.endswith("jpg") else name for name in sources))


def test_a_camera_is_no_source_of_tensors():
    with pytest.raises(InputError, match="takes tensors, not pictures"):
        opened("camera:0", pictures=False)


def test_a_video_needs_its_extra_before_anything_runs(folder, monkeypatch):
    (folder / "film.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match=r"OpenCV"):
        opened(folder / "a.jpg", folder / "film.mp4")


def test_files_come_before_the_camera_which_ends_when_closed(folder, monkeypatch):
    camera = FakeCamera([[Image.new("RGB", (4, 4))]]).camera()
    monkeypatch.setattr(inputs, "open_camera", lambda source: camera)
    source = opened(folder / "a.jpg", "camera:0")
    frames = iter(source)
    assert names([next(frames), next(frames)]) == [("a.jpg", 0), ("camera:fake", 0)]
    source.close()
    assert list(frames) == []
    assert source.dropped == 0


def test_paths_come_from_stdin_as_they_are_written(folder, stdin):
    source = opened(folder / "a.jpg", "-")
    frames = iter(source)
    assert names([next(frames)]) == [("a.jpg", 0)]
    stdin.write(f"{folder}/b.png\n\n{folder}/c.n".encode())
    assert names([next(frames)]) == [("b.png", 0)]
    stdin.write(b"py\r\n")
    assert names([next(frames), next(frames)]) == [("c.npy", 0), ("c.npy", 1)]
    stdin.write(f"{folder}/absent.png".encode())
    stdin.close()
    assert names(frames) == [("absent.png", 0)]


def test_a_wait_for_stdin_ends_when_closed(stdin):
    source = opened("-")
    threading.Timer(0.05, source.close).start()
    assert list(source) == []


def test_what_a_caller_gives_is_taken_one_by_one(folder):
    def given():
        yield from memory([Image.new("RGB", (4, 4))])
        yield folder / "b.png"
        yield str(folder / "*.jpg")
        yield folder / "notes.txt"

    frames = list(SourceChain(given(), TENSOR, pictures=True))
    assert names(frames) == [("memory", 0), ("b.png", 0), ("a.jpg", 0), ("notes.txt", 0)]
    with pytest.raises(FrameError, match="not a picture"):
        frames[3].read()


def test_it_is_a_source():
    assert isinstance(SourceChain([], TENSOR, pictures=True), Source)
    assert not isinstance(memory([]), Source)
    assert not isinstance(io.StringIO(), Source)
