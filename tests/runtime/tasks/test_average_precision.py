"""Mean average precision: COCO's own figures, and counts that can be drawn again."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from edgeproof.runtime.bundle.accuracy import paired_accuracy
from edgeproof.runtime.tasks.average_precision import MeanAveragePrecision
from edgeproof.runtime.tasks.boxes import Boxes

MEASURE = MeanAveragePrecision()


def scene(random, classes=3):
    """A picture's truths, some of them crowds, and detections that are near some of them."""
    count = int(random.integers(0, 6))
    corner = random.uniform(0, 150, (count, 2))
    truth = np.concatenate([corner, corner + random.uniform(8, 60, (count, 2))], axis=1)
    labels = random.integers(0, classes, count)
    ignore = random.random(count) < 0.2
    near = truth + random.normal(0, 4, truth.shape)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    extra = int(random.integers(0, 4))
    corner = random.uniform(0, 150, (extra, 2))
    far = np.concatenate([corner, corner + random.uniform(8, 60, (extra, 2))], axis=1)
    boxes = np.concatenate([near, near[:2] + 1, far])
    kinds = np.concatenate([labels, labels[:2], random.integers(0, classes, extra)])
    scores = random.permutation(len(boxes)) / max(len(boxes), 1) * random.uniform(0.5, 1)
    return Boxes.of(truth, labels, ignore=ignore), Boxes.of(boxes, kinds, scores)


def coco_figures(scenes):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    images, truths, found = [], [], []
    for number, (truth, answer) in enumerate(scenes, start=1):
        images.append({"id": number, "width": 300, "height": 300})
        for box, kind, crowd in zip(truth.boxes.astype(float), truth.classes, truth.ignore, strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            truths.append(
                {"id": len(truths) + 1, "image_id": number, "category_id": int(kind), "bbox": sides,
                 "area": sides[2] * sides[3], "iscrowd": int(crowd)}
            )  # fmt: skip
        for box, kind, score in zip(answer.boxes.astype(float), answer.classes, answer.scores, strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            found.append({"image_id": number, "category_id": int(kind), "bbox": sides, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {"images": images, "annotations": truths,
                             "categories": [{"id": i, "name": str(i)} for i in range(3)]}  # fmt: skip
        reference.createIndex()
        judged = evaluation.COCOeval(reference, reference.loadRes(found), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged.stats[:3]


def assert_as_pycocotools(scenes):
    whole, half, three_quarters = coco_figures(scenes)
    counts = [MEASURE.count(truth, answer) for truth, answer in scenes]
    assert MEASURE.value(counts) == pytest.approx(100 * half, abs=1e-6)
    details = MEASURE.details(counts)
    assert details["mAP@0.75"] == pytest.approx(100 * three_quarters, abs=1e-6)
    assert details["mAP@0.5:0.95"] == pytest.approx(100 * whole, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_figures_are_those_of_pycocotools(seed):
    random = np.random.default_rng(seed)
    assert_as_pycocotools([scene(random) for _ in range(25)])


@pytest.mark.parametrize("seed", range(4))
def test_equal_scores_are_taken_in_the_order_of_pycocotools(seed):
    random = np.random.default_rng(seed)
    scenes = [scene(random) for _ in range(25)]
    assert_as_pycocotools(
        [(truth, replace(found, scores=np.round(found.scores * 3) / 3)) for truth, found in scenes]
    )


def test_of_truths_that_overlap_alike_pycocotools_takes_the_last():
    truth = Boxes.of([[0, 0, 10, 10], [2, 0, 12, 10]], [0, 0])
    found = Boxes.of([[1, 0, 11, 10], [3, 0, 13, 10]], [0, 0], [0.9, 0.8])
    assert_as_pycocotools([(truth, found)])


def test_only_the_best_hundred_of_a_class_and_a_picture_count():
    random = np.random.default_rng(0)
    scenes = [scene(random) for _ in range(10)]
    crowded = []
    for truth, found in scenes:
        many = [np.tile(each, 40) for each in (found.classes, found.scores)]
        boxes = np.tile(found.boxes, (40, 1)) + random.normal(0, 3, (40 * len(found), 1))
        scores = many[1] * random.uniform(0.1, 1, 40 * len(found))
        crowded.append((truth, Boxes.of(boxes, many[0], scores)))
    assert max(np.bincount(found.classes).max() for _, found in crowded) > 100
    assert_as_pycocotools(crowded)


def test_the_truth_itself_is_all_right_and_nothing_is_all_wrong():
    truth = Boxes.of([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 1])
    assert MEASURE.value([MEASURE.count(truth, truth)]) == 100
    assert MEASURE.value([MEASURE.count(truth, Boxes.of([], []))]) == 0


def test_without_a_truth_there_is_nothing_to_judge():
    found = Boxes.of([[0, 0, 10, 10]], [0])
    assert MEASURE.value([MEASURE.count(Boxes.of([], []), found)]) is None
    crowd = Boxes.of([[0, 0, 10, 10]], [0], ignore=[True])
    assert MEASURE.value([MEASURE.count(crowd, found)]) is None


def test_a_drop_has_an_interval_over_pictures():
    random = np.random.default_rng(0)
    scenes = [scene(random) for _ in range(30)]
    right = [MEASURE.count(truth, truth) for truth, _ in scenes]
    found = [MEASURE.count(truth, answer) for truth, answer in scenes]
    accuracy = paired_accuracy(MEASURE, right, found)
    low, high = accuracy.ci95
    assert 0 < low < accuracy.drop < high
    assert set(accuracy.details) == {"mAP@0.75", "mAP@0.5:0.95"}
