import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeproof.runtime.bundle.pixels import packed


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["RGB", "BGR", "L"]), st.booleans())
def test_the_pixels_are_those_that_numpy_reads(height, width, order, public):
    values = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(values).convert("L" if order == "L" else "RGB")
    wanted = np.asarray(image).reshape(height, width, -1)
    with pytest.MonkeyPatch.context() as patch:
        if public:
            patch.delattr(Image, "_getencoder")
            patch.setattr(
                Image.Image, "tobytes", lambda self, *_: wanted[..., :: -1 if order == "BGR" else 1].tobytes()
            )
        found = packed(image, order)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted[..., ::-1] if order == "BGR" else wanted)


def test_a_large_picture_is_whole():
    values = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    assert np.array_equal(packed(Image.fromarray(values), "RGB"), values)


def test_an_encoder_that_ends_early_is_an_error(monkeypatch):
    class Torn:
        def setimage(self, *_):
            pass

        def encode(self, size):
            return size, -2, b""

    monkeypatch.setattr(Image, "_getencoder", lambda *_: Torn())
    with pytest.raises(RuntimeError, match="ended with -2"):
        packed(Image.new("RGB", (4, 4)), "RGB")
