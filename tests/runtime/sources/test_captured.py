"""Pictures as OpenCV hands them out, in each pixel format that a pipeline may end in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeproof.runtime.errors import ImageError
from edgeproof.runtime.inference.runner import BadFrame, Prediction
from edgeproof.runtime.sources.camera import sink_format
from edgeproof.runtime.sources.captured import Captured
from edgeproof.runtime.testing import FakeCamera, fake_runner

pytest.importorskip("cv2")

# Rows for red, green and blue; columns for Y - 16, U - 128 and V - 128: ITU-R BT.601, limited range.
BT601 = np.array([[1.164383, 0, 1.596027], [1.164383, -0.391762, -0.812968], [1.164383, 2.017232, 0]])


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def rgb_of_nv12(plane):
    """The definition, with one pair of U and V for each square of four pixels."""
    height, width = plane.shape[0] * 2 // 3, plane.shape[1]
    luma = plane[:height].astype(np.float64) - 16
    chroma = plane[height:].reshape(height // 2, width // 2, 2).astype(np.float64) - 128
    chroma = chroma.repeat(2, axis=0).repeat(2, axis=1)
    return np.clip(np.dstack([luma.clip(0), chroma]) @ BT601.T, 0, 255)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**16))
@settings(max_examples=50)
def test_nv12_is_converted_by_its_definition(rows, columns, seed):
    plane = np.random.default_rng(seed).integers(0, 256, (3 * rows, 2 * columns), np.uint8)
    captured = Captured(plane, "NV12")
    wanted = rgb_of_nv12(plane)
    assert captured.size == wanted.shape[:2] == (2 * rows, 2 * columns)
    assert np.abs(np.asarray(captured.image()) - wanted).max() <= 1.5
    assert np.array_equal(captured.pixels("rgb"), np.asarray(captured.image()))
    assert np.array_equal(captured.pixels("bgr")[..., ::-1], np.asarray(captured.image()))


@pytest.mark.parametrize("pixel_format", ["BGRx", "BGRA"])
def test_the_byte_of_padding_is_dropped(pixel_format):
    padded = noise(5, 7, 4)
    captured = Captured(padded, pixel_format)
    rgb = padded[..., 2::-1]
    assert captured.size == (5, 7)
    assert np.array_equal(np.asarray(captured.image()), rgb)
    assert np.array_equal(captured.pixels("bgr"), padded[..., :3])
    assert np.array_equal(captured.pixels("rgb"), rgb)


def test_bgr_needs_no_copy_for_a_model_that_takes_it():
    picture = noise(5, 7, 3)
    assert Captured(picture).pixels("bgr") is picture
    assert np.array_equal(Captured(picture).pixels("rgb"), picture[..., ::-1])
    assert np.array_equal(np.asarray(Captured(picture).image()), picture[..., ::-1])


@pytest.mark.parametrize("pixel_format", ["", "GRAY8"])
def test_grey_needs_no_copy_for_a_model_that_takes_it(pixel_format):
    picture = noise(6, 8)
    captured = Captured(picture, pixel_format)
    assert np.shares_memory(captured.pixels("gray"), picture)
    assert captured.pixels("gray").shape == (6, 8, 1)
    assert captured.pixels("rgb") is None
    assert captured.image().mode == "L"
    assert Captured(noise(6, 8, 3)).pixels("gray") is None


@pytest.mark.parametrize(
    ("shape", "pixel_format"),
    [
        ((7, 8), "NV12"),  # no picture has 4 2/3 rows
        ((6, 7), "NV12"),  # an odd width
        ((0, 8), "NV12"),
        ((6, 8), "I420"),
        ((6, 8), "BGRx"),
        ((5, 7, 4), ""),  # of an unknown order
        ((5, 7, 4), "RGBA"),
        ((5, 7, 2), "YUY2"),
        ((5, 7, 3, 1), ""),
    ],
)
def test_other_forms_and_odd_sizes_are_one_clear_message(shape, pixel_format):
    captured = Captured(noise(*shape), pixel_format)
    for read in (captured.image, lambda: captured.pixels("bgr"), lambda: captured.size):
        with pytest.raises(ImageError) as caught:
            read()
        assert str(shape) in caught.value.details["got"]
        assert pixel_format in caught.value.details["got"]
        assert "format=BGRx" in caught.value.details["to do"]


@pytest.mark.parametrize(
    ("source", "pixel_format"),
    [
        ("gstreamer:videotestsrc ! appsink", ""),
        (
            "gstreamer:a ! video/x-raw(memory:NVMM),format=NV12 ! b ! video/x-raw,format=BGRx ! appsink",
            "BGRx",
        ),
        ("gstreamer:a ! video/x-raw, format=(string)NV12, width=640 ! appsink drop=true", "NV12"),
        ('gstreamer:a ! video/x-raw,format="GRAY8" ! appsink', "GRAY8"),
        ("gstreamer:a pixel-format=YUY2 ! appsink", ""),
        ("camera:0", ""),
        ("rtsp://host/format=NV12", ""),
    ],
)
def test_the_form_is_the_last_that_a_pipeline_names(source, pixel_format):
    assert sink_format(source) == pixel_format


@pytest.mark.parametrize("pixel_format", ["BGRx", "NV12"])
def test_a_camera_of_each_form_gets_labels_and_a_torn_picture_is_one_bad_frame(pixel_format):
    bright = np.full((8, 8, 4), 255, np.uint8) if pixel_format == "BGRx" else np.full((12, 8), 235, np.uint8)
    if pixel_format == "NV12":
        bright[8:] = 128
    fake = FakeCamera([[bright]])
    camera = fake.camera(pixel_format=pixel_format)
    assert fake.over.wait(30)
    with fake_runner() as runner:
        results = runner.stream(camera)
        good = next(results)
        assert isinstance(good, Prediction)
        assert good.top[0].label == "bright"
        camera.close()
        list(results)
    fake = FakeCamera([[bright[:-1]]])
    camera = fake.camera(pixel_format="NV12")
    assert fake.over.wait(30)
    with fake_runner() as runner:
        results = runner.stream(camera)
        bad = next(results)
        assert isinstance(bad, BadFrame)
        assert "NV12" in bad.error
        camera.close()
        list(results)


def test_a_picture_keeps_its_pixels_when_the_cameras_memory_is_used_again():
    memory = noise(4, 4, 3)
    image = Captured(memory).image()
    before = image.tobytes()
    memory[:] = 0
    assert image.tobytes() == before
    assert isinstance(image, Image.Image)
