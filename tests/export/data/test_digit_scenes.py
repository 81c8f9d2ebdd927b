"""`digit-scenes`: the same scenes each time, whose boxes and masks are those of the digits that they show."""

from dataclasses import replace

import numpy as np
import pytest

from edgeproof.export.data import catalog, digit_scenes, digits
from edgeproof.export.data.dataset import in_memory
from edgeproof.runtime.errors import DataError


def scenes(split, count):
    return [(np.asarray(split.load(i)), split.labels[i]) for i in range(count)]


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_scene_is_the_same_each_time(task):
    first, second = (scenes(catalog.find("digit-scenes", task).train, 3) for _ in range(2))
    for (picture, truth), (again, truth_again) in zip(first, second, strict=True):
        np.testing.assert_array_equal(picture, again)
        if task == "detection":
            np.testing.assert_array_equal(truth.boxes, truth_again.boxes)
        else:
            np.testing.assert_array_equal(truth, truth_again)


def test_the_parts_show_other_scenes():
    data = catalog.find("digit-scenes", "detection")
    pictures = [
        np.asarray(split.load(i)).tobytes() for split in (data.train, data.evaluation) for i in range(20)
    ]
    assert len(set(pictures)) == len(pictures)


def test_calibration_is_of_the_training_scenes():
    data = catalog.find("digit-scenes", "segmentation")
    train = {np.asarray(data.train.load(i)).tobytes() for i in range(len(data.train))[:200]}
    calibration = [np.asarray(data.calibration.load(i)).tobytes() for i in range(len(data.calibration))[:8]]
    assert sum(picture in train for picture in calibration) >= 1


def test_the_digits_that_evaluate_are_in_no_other_scene(monkeypatch):
    """Each part is made of the same part of `digits`: here one holds only threes, the other only sevens."""
    usual = digits.load()

    def all_of(split, digit):
        return replace(split, labels=np.full(len(split), digit))

    monkeypatch.setattr(
        digits,
        "load",
        lambda: replace(usual, train=all_of(usual.train, 3), evaluation=all_of(usual.evaluation, 7)),
    )
    data = digit_scenes.load("detection")
    for split, digit in ((data.train, 3), (data.calibration, 3), (data.evaluation, 7)):
        assert {int(c) for i in range(10) for c in split.labels[i].classes} == {digit}


def test_boxes_lie_in_the_picture_and_hold_a_digit_each():
    data = catalog.find("digit-scenes", "detection")
    counts = set()
    for position in range(40):
        picture, truth = data.train.load(position), data.train.labels[position]
        width, height = picture.size
        assert (truth.boxes[:, :2] >= 0).all()
        assert (truth.boxes[:, 2:] <= (width, height)).all()
        assert (truth.boxes[:, 2:] - truth.boxes[:, :2] >= 5).all()
        assert set(truth.classes) <= set(range(10))
        counts.add(len(truth))
    assert counts == set(range(1, digit_scenes.MAX_DIGITS + 1))


def test_masks_are_those_of_the_boxes():
    """What a mask labels lies in the boxes of that class, and a lone digit fills its box."""
    boxed = catalog.find("digit-scenes", "detection").train
    masked = catalog.find("digit-scenes", "segmentation").train
    assert np.array_equal(np.asarray(boxed.load(0)), np.asarray(masked.load(0)))
    for position in range(40):
        truth, mask = boxed.labels[position], masked.labels[position]
        assert mask.dtype == np.uint8
        allowed = np.zeros((*mask.shape, 11), bool)
        allowed[..., 0] = True
        for (left, top, right, bottom), digit in zip(truth.boxes.astype(int), truth.classes, strict=True):
            allowed[top:bottom, left:right, digit + 1] = True
        assert np.take_along_axis(allowed, mask[..., None].astype(int), axis=2).all()
        if len(truth) == 1:
            rows, columns = np.nonzero(mask)
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_array_equal(truth.boxes[0], tight)


def test_each_digit_stands_out_from_its_ground():
    source = in_memory(np.full((1, 8, 8), 255, np.uint8), np.array([4]))
    for seed in range(20):
        scene = digit_scenes.make_scene(source, (seed,))
        grey = np.asarray(scene.picture.convert("L"), float)
        for left, top, right, bottom in scene.boxes.boxes.astype(int)[-1:]:  # nothing lies over the last one
            around = np.zeros_like(grey, bool)
            around[max(top - 4, 0) : bottom + 4, max(left - 4, 0) : right + 4] = True
            ground = grey[around & (scene.mask == 0)]
            assert abs(grey[top:bottom, left:right].mean() - ground.mean()) > 20


def test_labels_and_task():
    segmentation, detection = (catalog.find("digit-scenes", task) for task in ("segmentation", "detection"))
    assert segmentation.labels == ("background", *detection.labels)
    assert (segmentation.task, detection.task) == ("segmentation", "detection")


def test_it_has_no_class_of_a_whole_picture():
    with pytest.raises(DataError, match="no truth for classification"):
        catalog.find("digit-scenes")
