"""From words, manifests and outputs to tasks."""

import json

import numpy as np
import pytest

from edgeproof.runtime.errors import BundleError, TaskError
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.detection import Detection
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.tasks.registry import TASKS, described, infer_task, parse_task, task_entry, task_of
from edgeproof.runtime.tasks.segmentation import Segmentation


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("classification", Classification()),
        ("segmentation", Segmentation()),
        ("segmentation,threshold=0.3", Segmentation(0.3)),
        ("detection:yolov8", Detection("yolov8")),
        ("detection:boxes,min_score=0.4,max_boxes=7", Detection("boxes", min_score=0.4, max_boxes=7)),
        ("raw", Raw()),
        ("raw,metric=mine.py:score", Raw("mine.py:score")),
    ],
)
def test_a_task_is_typed_written_and_read_again(text, task):
    assert parse_task(text) == task
    entry = json.loads(json.dumps(task_entry(task)))
    assert task_of(entry) == task
    assert parse_task(described(task)) == task


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fortune", "There is no task 'fortune'"),
        ("segmentation,threshold", "sets nothing"),
        ("segmentation,colour=3", "has no parameter 'colour'"),
        ("segmentation,threshold=high", "threshold must be"),
        ("detection", "layout is missing"),
        ("detection:yolov0", "layout must be one of"),
        ("detection:ssd,anchors=absent.npy", "holds no array"),
        ("raw:layout", "has no parameter 'layout'"),
    ],
)
def test_what_cannot_be_a_task_is_refused(text, message):
    with pytest.raises(TaskError, match=message):
        parse_task(text)


def test_anchors_are_read_from_a_file_and_travel_apart_from_the_entry(tmp_path):
    anchors = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.save(tmp_path / "anchors.npy", anchors)
    task = parse_task(f"detection:ssd,anchors={tmp_path / 'anchors.npy'}")
    assert "anchors" not in task_entry(task)
    again = task_of(task_entry(task), task.arrays())
    assert np.array_equal(again.anchors, anchors)


def test_a_pickled_array_is_not_unpickled(tmp_path):
    np.save(tmp_path / "anchors.npy", np.array([{"a": 1}], object))
    with pytest.raises(TaskError, match="holds no array"):
        parse_task(f"detection:ssd,anchors={tmp_path / 'anchors.npy'}")


def test_no_entry_is_a_classification_and_a_wrong_one_is_refused():
    assert task_of(None) == Classification()
    with pytest.raises(BundleError, match="task cannot be used"):
        task_of({"name": "detection", "layout": 3})


@pytest.mark.parametrize(
    ("shapes", "task"),
    [
        ([(4, 5)], Classification()),
        ([(4, 7, 5)], Classification()),
        ([(4, 5, 8, 8)], Segmentation()),
        ([(4, 1, 8, 8)], Segmentation(0.5)),
        ([(4, 5, 1, 1)], Classification()),
        ([(4, 1, 1, 1)], Raw()),
        ([(4, 1)], Raw()),
        ([(4,)], Raw()),
        ([(4, 5), (4, 5)], Raw()),
    ],
)
def test_outputs_suggest_a_task_that_takes_them(shapes, task):
    outputs = {str(i): np.zeros(shape) for i, shape in enumerate(shapes)}
    assert infer_task(outputs) == task


@pytest.mark.parametrize(("layout", "axis"), [("yolov8", 1), ("yolov5", 2)])
def test_boxes_in_pixels_beside_scores_suggest_a_detector(layout, axis):
    random = np.random.default_rng(0)
    boxes, scores = random.uniform(0, 320, (2, 50, 4)), random.uniform(0, 1, (2, 50, 4))
    values = np.concatenate([boxes, scores], axis=2)
    assert infer_task({"y": values if axis == 2 else values.transpose(0, 2, 1)}) == Detection(layout)
    logits = random.normal(0, 3, (2, 50, 8))
    assert infer_task({"y": logits}) == Classification()


def test_a_map_of_logits_is_thresholded_at_nought():
    assert infer_task({"y": np.array([-3.0, 5.0]).reshape(1, 1, 1, 2)}) == Segmentation(0.0)


def test_every_task_is_found_by_its_own_name():
    assert {name: kind.name for name, kind in TASKS.items()} == {name: name for name in TASKS}
