"""Segmentation: maps of classes, and maps of one channel above a threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from edgeproof.runtime.errors import TaskError
from edgeproof.runtime.tasks.base import View
from edgeproof.runtime.tasks.geometry import Geometry
from edgeproof.runtime.tasks.outputs import specs_of
from edgeproof.runtime.tasks.segmentation import NO_LABEL, Segmentation

LABELS = ("background", "cat", "dog")


@pytest.mark.parametrize(
    ("shape", "threshold"),
    [((2, 3, 8, 8), 0.5), ((2, 1, 8, 8), None), ((2, 3), None), ((2, 300, 8, 8), None), ((2, 3, 8), None)],
)
def test_outputs_that_are_no_such_map_are_refused(shape, threshold):
    with pytest.raises(TaskError, match="is not the segmentation that was asked for"):
        Segmentation(threshold).require_fit(specs_of({"y": np.zeros(shape)}), ())


def test_labels_must_be_as_many_as_channels_and_two_for_one_channel():
    Segmentation().require_fit(specs_of({"y": np.zeros((2, 3, 8, 8))}), LABELS)
    Segmentation(0.5).require_fit(specs_of({"y": np.zeros((2, 1, 8, 8))}), ("no", "text"))
    with pytest.raises(TaskError, match="segmentation"):
        Segmentation().require_fit(specs_of({"y": np.zeros((2, 3, 8, 8))}), ("a", "b"))


def test_the_largest_channel_is_the_class_and_one_channel_is_thresholded():
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    assert np.array_equal(Segmentation().decode({"y": scores})[1], scores[1].argmax(axis=0))
    (found,) = Segmentation(0.3).decode({"y": np.array([[[[0.2, 0.3, 0.31]]]])})
    assert found.tolist() == [[0, 0, 1]]


def test_mean_iou_by_hand():
    truth = np.array([[0, 0, 1, 1, 2, NO_LABEL]], np.uint8)
    found = np.array([[0, 1, 1, 1, 0, 2]], np.uint8)
    metric = Segmentation().metric
    # background 1 of 3, cat 2 of 3, dog 0 of 1; the last pixel is not judged
    assert metric.value([metric.count(truth, found)]) == pytest.approx(100 * (1 / 3 + 2 / 3 + 0) / 3)


def test_of_one_channel_the_background_does_not_count():
    truth, found = np.array([[0, 0, 0, 1]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8)
    agreement = Segmentation(0.5).agreement
    assert agreement.value([agreement.count(truth, found)]) == pytest.approx(50)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_map_agrees_with_itself_and_samples_may_come_in_any_order(seed):
    random = np.random.default_rng(seed)
    maps = random.integers(0, 3, (4, 6, 7)).astype(np.uint8)
    others = random.integers(0, 3, (4, 6, 7)).astype(np.uint8)
    agreement = Segmentation().agreement
    assert agreement.value([agreement.count(each, each) for each in maps]) == 100
    counts = [agreement.count(*pair) for pair in zip(maps, others, strict=True)]
    assert agreement.value(counts) == pytest.approx(agreement.value(counts[::-1]))


def test_maps_of_another_size_are_refused():
    with pytest.raises(TaskError, match="has another size"):
        Segmentation().metric.count(np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8))
    with pytest.raises(TaskError, match="another size than its picture"):
        Segmentation().truth_in_input(
            np.zeros((4, 4), np.uint8), Geometry((5, 4), (8, 8)), np.zeros((8, 8), np.uint8)
        )


def test_a_truth_is_read_at_the_middle_of_each_pixel_of_the_answer():
    truth = np.repeat(np.array([[0, 1, 2, 3]], np.uint8), 4, axis=0)
    geometry = Geometry((4, 4), (8, 8), (2.0, 2.0))
    moved = Segmentation().truth_in_input(truth, geometry, np.zeros((2, 2), np.uint8))
    assert moved.tolist() == [[1, 3], [1, 3]]
    padded = Geometry((4, 4), (8, 8), (1.0, 1.0), (2.0, 2.0))
    moved = Segmentation().truth_in_input(truth, padded, np.zeros((8, 8), np.uint8))
    assert (moved[:2] == NO_LABEL).all()
    assert (moved[2:6, 2:6] == truth).all()


def test_a_row_tells_the_share_of_the_picture_that_each_class_covers():
    answer = np.array([[0, 1], [1, 2]], np.uint8)
    view = View(LABELS, (), Geometry((8, 4), (2, 2), (0.25, 0.5)), top=2)
    row = Segmentation().row(answer, view)
    assert row == {
        "areas": [
            {"index": 1, "label": "cat", "share": 0.5},
            {"index": 0, "label": "background", "share": 0.25},
        ]
    }


def test_a_mask_is_a_palette_picture_of_the_pictures_size_and_a_drawing_shows_it():
    answer = np.array([[0, 1], [0, 2]], np.uint8)
    view = View(LABELS, (), Geometry((40, 20), (2, 2), (0.05, 0.1)))
    mask = Segmentation().maps(answer, view)["mask.png"]
    assert (mask.mode, mask.size) == ("P", (40, 20))
    assert np.array_equal(np.unique(np.asarray(mask)), [0, 1, 2])
    picture = Image.new("RGB", (40, 20), "white")
    drawn = Segmentation().draw(picture, answer, view)
    assert ImageChops.difference(drawn, picture).getbbox() is not None
    assert picture.getextrema() == ((255, 255),) * 3
