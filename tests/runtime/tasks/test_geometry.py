"""Where a point of a picture stands in the model's input: preprocessing itself is the judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.tasks.geometry import Geometry

HALF = (0.5,) * 3


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(40, 200), st.integers(40, 200)),
    st.sampled_from(
        [
            Preprocess(resize=64, crop=(48, 56), mean=HALF, std=HALF),
            Preprocess(resize=(48, 80), crop=None, mean=HALF, std=HALF),
            Preprocess(resize=None, crop=(90, 60), mean=HALF, std=HALF),
            Preprocess(resize=40, crop=(64, 64), mean=HALF, std=HALF),  # pads
            Preprocess(resize=(64, 80), crop=None, mean=HALF, std=HALF, letterbox=0),
        ]
    ),
    st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)
def test_a_bright_spot_stands_where_the_geometry_says(size, preprocess, place):
    width, height = size
    x, y = round(place[0] * width), round(place[1] * height)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y - 3 : y + 3, x - 3 : x + 3] = 255
    found = np.asarray(preprocess.pixels(Image.fromarray(pixels)), np.float64).sum(axis=2)
    geometry = preprocess.geometry(width, height)
    assert geometry.input == found.shape[::-1]
    (left, top, right, bottom), *_ = geometry.boxes_in_input(np.array([[x - 3, y - 3, x + 3, y + 3]]))
    if left < 2 or top < 2 or right > found.shape[1] - 2 or bottom > found.shape[0] - 2:
        return  # cut off
    rows, columns = np.indices(found.shape)
    centre = (found * (columns + 0.5)).sum() / found.sum(), (found * (rows + 0.5)).sum() / found.sum()
    assert centre == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.6)


@given(st.tuples(st.floats(0.2, 4), st.floats(0.2, 4)), st.tuples(st.floats(-20, 20), st.floats(-20, 20)))
def test_boxes_go_there_and_back(scale, shift):
    geometry = Geometry((100, 80), (64, 64), scale, shift)
    boxes = np.array([[3, 4, 50, 60], [0, 0, 100, 80]], np.float32)
    assert geometry.boxes_in_picture(geometry.boxes_in_input(boxes)) == pytest.approx(boxes, abs=1e-2)


@pytest.mark.parametrize("size", [(200, 100), (100, 200), (64, 64), (33, 9), (1, 500)])
def test_the_whole_picture_is_what_lies_inside_a_letterbox(size):
    preprocess = Preprocess(resize=(64, 96), crop=None, mean=HALF, std=HALF, letterbox=0)
    pixels = np.asarray(preprocess.pixels(Image.new("RGB", size, "white"))).max(axis=2)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    whole = np.array([[0, 0, *size]], np.float32)
    geometry = preprocess.geometry(*size)
    found = geometry.boxes_in_input(whole)
    assert found.tolist() == [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]
    assert geometry.boxes_in_picture(found) == pytest.approx(whole, abs=1e-3)


def test_two_steps_are_one():
    first = Geometry((100, 80), (50, 40), (0.5, 0.5), (1.0, 2.0))
    second = Geometry((50, 40), (25, 60), (0.25, 1.5), (-3.0, 4.0))
    boxes = np.array([[3, 4, 50, 60]], np.float32)
    wanted = second.boxes_in_input(first.boxes_in_input(boxes))
    assert first.then(second).boxes_in_input(boxes) == pytest.approx(wanted)


def test_a_map_comes_back_to_its_picture():
    values = np.array([[1, 2], [3, 4]], np.uint8)
    geometry = Geometry((4, 4), (8, 8), (2.0, 2.0))
    assert (
        geometry.map_in_picture(values, 255).tolist() == np.kron(values, np.ones((2, 2), np.uint8)).tolist()
    )
    cropped = Geometry((4, 4), (2, 2), (1.0, 1.0), (-1.0, -1.0))
    seen = cropped.map_in_picture(values, 255)
    assert seen[1:3, 1:3].tolist() == values.tolist()
    assert (np.delete(seen, (1, 2), axis=0) == 255).all()
