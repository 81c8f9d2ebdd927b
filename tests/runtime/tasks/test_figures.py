"""What labelled samples tell beside the metric, of each task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.tasks.boxes import Boxes
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.detection import Detection
from edgeproof.runtime.tasks.figures import calibration
from edgeproof.runtime.tasks.outputs import OutputSpec
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.tasks.segmentation import NO_LABEL, Segmentation

LABELS = ("cat", "dog", "eel")


def spec(scores="logits"):
    return (OutputSpec("output", ("batch", 3), "float32", scores),)


def boxes(random):
    count = int(random.integers(0, 5))
    corner = random.uniform(0, 60, (count, 2))
    sides = np.concatenate([corner, corner + random.uniform(8, 40, (count, 2))], axis=1)
    return Boxes.of(sides, random.integers(0, 3, count), random.random(count), random.random(count) < 0.2)


SAMPLES = {
    "classification": (Classification(), lambda random: (int(random.integers(3)), random.normal(size=3))),
    "sequence": (Classification(), lambda random: (random.integers(0, 3, 4), random.normal(size=(4, 3)))),
    "segmentation": (
        Segmentation(),
        lambda random: (
            random.choice([0, 1, 2, NO_LABEL], (5, 6)).astype(np.uint8),
            random.integers(0, 3, (5, 6)).astype(np.uint8),
        ),
    ),
    "detection": (
        Detection("yolov8", height=100, width=100),
        lambda random: (boxes(random), boxes(random)),
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_metric_can_be_counted_from_what_is_kept(name, seed):
    task, draw = SAMPLES[name]
    samples = [draw(np.random.default_rng([seed, i])) for i in range(6)]
    findings = task.findings(spec())
    kept = [findings.of(*sample) for sample in samples]
    assert all(isinstance(value, np.ndarray) for each in kept for value in each.values())
    wanted = task.metric.value([task.metric.count(*sample) for sample in samples])
    assert task.metric.value([findings.count(each) for each in kept]) == wanted
    findings.figures(kept, LABELS)


def test_a_task_without_truths_finds_nothing():
    assert Raw().findings(spec()) is None


# --- classification -----------------------------------------------------------------------------------


def classified(pairs, scores="logits"):
    """Figures of samples whose answer is sure: (truth, answer)."""
    findings = Classification().findings(spec(scores))
    return findings.figures([findings.of(truth, 9.0 * np.eye(3)[answer]) for truth, answer in pairs], LABELS)


def test_precision_and_recall_of_classes():
    figures = classified([(0, 0), (0, 0), (0, 1), (1, 1)])
    cat, dog = figures.by_class
    assert (cat.label, cat.truths, cat.precision) == ("cat", 2 + 1, 100.0)
    assert cat.recall == cat.value == pytest.approx(200 / 3)
    assert (dog.label, dog.truths, dog.precision, dog.recall) == ("dog", 1, 50.0, 100.0)
    assert [(pair.truth, pair.answer, pair.count) for pair in figures.confusions] == [
        ("cat", "cat", 2), ("cat", "dog", 1), ("dog", "dog", 1),
    ]  # fmt: skip


def test_a_class_that_is_answered_and_never_true_has_no_recall():
    (_, eel) = classified([(0, 0), (0, 2)]).by_class
    assert (eel.label, eel.truths, eel.recall, eel.precision) == ("eel", 0, None, 0.0)


def test_top_5_needs_more_than_five_classes():
    labels = tuple(map(str, range(8)))
    findings = Classification().findings(spec())
    scores = np.arange(8.0)
    figures = findings.figures([findings.of(3, scores), findings.of(2, scores)], labels)
    assert figures.details == {"top-5": 50.0}  # the class 3 is the fifth, the class 2 the sixth
    assert classified([(0, 0)]).details == {}


def test_probabilities_are_taken_as_they_are():
    findings = Classification().findings(spec("probabilities"))
    found = findings.of(0, np.array([0.7, 0.2, 0.1]))
    assert found["confidence"] == pytest.approx([0.7])
    assert Classification().findings(spec()).of(0, np.zeros(3))["confidence"] == pytest.approx([1 / 3])


# --- calibration --------------------------------------------------------------------------------------


def test_the_calibration_error_by_hand():
    confidence = np.array([0.91, 0.92, 0.61, 0.62])
    error, bins = calibration(confidence, np.array([True, False, True, True]))
    assert [(each.count, each.right) for each in bins] == [(2, 1.0), (2, 0.5)]
    assert error == pytest.approx(100 * (2 * (1 - 0.615) + 2 * (0.915 - 0.5)) / 4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_a_share(pairs):
    confidence, right = map(np.array, zip(*pairs, strict=True))
    error, bins = calibration(confidence, right)
    assert 0 <= error <= 100
    assert sum(each.count for each in bins) == len(pairs)


def test_confidences_that_hold_have_no_error():
    assert calibration(np.ones(5), np.ones(5, bool))[0] == 0
    assert calibration(np.zeros(0), np.zeros(0, bool)) == (None, ())


# --- segmentation -------------------------------------------------------------------------------------


def test_iou_of_classes_in_pixels():
    findings = Segmentation().findings(spec())
    truth = np.array([[0, 0, 1, NO_LABEL]], np.uint8)
    answer = np.array([[0, 1, 1, 1]], np.uint8)
    cat, dog = findings.figures([findings.of(truth, answer)], LABELS).by_class
    assert (cat.label, cat.truths, cat.value, cat.precision, cat.recall) == ("cat", 2, 50.0, 100.0, 50.0)
    assert (dog.label, dog.truths, dog.value, dog.precision, dog.recall) == ("dog", 1, 50.0, 50.0, 100.0)


# --- detection ----------------------------------------------------------------------------------------


def test_objects_by_class_with_a_curve():
    findings = Detection("yolov8", height=100, width=100, min_score=0.5).findings(spec())
    truth = Boxes.of([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 0])
    answer = Boxes.of([[0, 0, 10, 10], [60, 60, 70, 70], [20, 20, 40, 40]], [0, 0, 0], [0.9, 0.8, 0.3])
    figures = findings.figures([findings.of(truth, answer)], LABELS)
    (cat,) = figures.by_class
    assert (cat.truths, cat.precision, cat.recall) == (2, 50.0, 50.0)  # the third is not sure enough
    (curve,) = figures.curves
    assert curve.recall == pytest.approx((0.5, 0.5, 1.0))
    assert curve.precision == pytest.approx((1.0, 0.5, 2 / 3))
    assert set(figures.details) == {"mAP@0.75", "mAP@0.5:0.95"}
    assert sum(each.count for each in figures.bins) == 3
