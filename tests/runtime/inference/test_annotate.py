import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from edgeproof.runtime.errors import InputError, OutputError
from edgeproof.runtime.inference.annotate import Annotator, file_name
from edgeproof.runtime.inference.results import Prediction
from edgeproof.runtime.tasks.base import View
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.outputs import OutputSpec

OUTPUTS = (OutputSpec("scores", ("batch", 2), "float32"),)


def prediction(source="photos/cat.jpg", frame=3, label="Egyptian cat"):
    answer = np.array([-1.0, 2.0], np.float32)
    view = View(("dog", label), OUTPUTS)
    row = Classification().row(answer, view)
    return Prediction(source, frame, 0.0, row, 1.0, answer=answer, view=view, task=Classification())


def annotated(picture, found):
    return Classification().draw(picture, found.answer, found.view)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(300, 200), (3, 5)])
def test_the_copy_is_written_on_and_the_picture_is_not(mode, size):
    picture = Image.new("RGB", size, (20, 200, 30)).convert(mode)
    before = picture.copy()
    written = annotated(picture, prediction())
    assert (written.size, written.mode) == (size, "RGB")
    assert ImageChops.difference(picture.convert("RGBA"), before.convert("RGBA")).getbbox() is None
    if size == (300, 200):
        assert ImageChops.difference(written, picture.convert("RGB")).getbbox() is not None


def test_labels_that_the_font_lacks_do_no_harm():
    annotated(Image.new("RGB", (300, 200)), prediction(label="猫 \n\t\x00"))


def test_each_picture_becomes_one_file(tmp_path):
    write = Annotator(tmp_path / "a" / "b")
    write(prediction("x/cat.jpg"), Image.new("RGB", (30, 20)))
    write(prediction("y/cat.jpg"), Image.new("RGB", (30, 20)))
    write(prediction("y/cat.jpg"), Image.new("RGB", (30, 20)))
    names = [path.name for path in (tmp_path / "a" / "b").iterdir()]
    assert len(names) == 2
    assert all(name.startswith("cat.jpg-") and name.endswith(".000003.jpg") for name in names)


@given(st.text(min_size=1, max_size=300), st.integers(0, 10**9))
def test_any_source_gives_one_plain_name(source, frame):
    source = source.encode("utf-8", "replace").decode()
    name = file_name(prediction(source, frame))
    assert "/" not in name
    assert not name.startswith(".")
    assert len(os.fsencode(name)) <= 255


def test_a_tensor_shows_nothing(tmp_path):
    with pytest.raises(InputError, match="no picture to draw on"):
        Annotator(tmp_path)(prediction("a.npy"), None)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        Annotator(tmp_path / "file" / "folder")


def test_a_disk_that_is_full_is_told(tmp_path, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    write = Annotator(tmp_path)
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write(prediction(), Image.new("RGB", (30, 20)))
    assert "No space left" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
