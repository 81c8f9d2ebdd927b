"""Classification: scores of classes, of one picture or of a sequence."""

import numpy as np
import pytest

from edgeproof.runtime.errors import TaskError
from edgeproof.runtime.tasks.base import View
from edgeproof.runtime.tasks.classification import Classification, softmax
from edgeproof.runtime.tasks.outputs import OutputSpec, specs_of

TASK = Classification()
LOGITS = (OutputSpec("y", ("batch", 3), "float32"),)


@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 1, 8, 8), (4, 3, 8, 8), (4, 6, 1)])
def test_outputs_whose_largest_score_says_nothing_are_refused(shape):
    with pytest.raises(TaskError, match="is no classification") as caught:
        TASK.require_fit(specs_of({"y": np.zeros(shape)}), ())
    assert "--task segmentation" in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 2), (4, 7, 5), (4, 5, 1, 1)])
def test_scores_of_a_picture_or_of_a_sequence_are_taken(shape):
    outputs = {"y": np.zeros(shape), "more": np.zeros((4, 1))}
    TASK.require_fit(specs_of(outputs), ())
    assert [part.name for part in TASK.parts(specs_of(outputs))] == ["y", "more"]


def test_labels_must_be_as_many_as_scores():
    TASK.require_fit(LOGITS, ("a", "b", "c"))
    with pytest.raises(TaskError, match="into 2 classes"):
        TASK.require_fit(LOGITS, ("a", "b"))


def test_of_a_sequence_each_position_counts():
    random = np.random.default_rng(0)
    first = random.normal(size=(5, 4))
    other = first.copy()
    other[2] = np.roll(other[2], 1)
    assert TASK.agreement.count(first, 3 * first) == 1
    assert TASK.agreement.count(first, other) == 0.8
    assert TASK.metric.count(first.argmax(axis=1), first) == 1
    assert TASK.metric.count(first.argmax(axis=1), other) == 0.8


def test_a_row_of_a_sequence_names_each_position():
    scores = np.eye(3)[[2, 0, 1]]
    assert TASK.row(scores, View(("a", "b", "c"), LOGITS)) == {"sequence": ["c", "a", "b"]}
    assert TASK.ranks(LOGITS)
    assert not TASK.ranks(specs_of({"y": np.zeros((2, 7, 3))}))


def test_without_labels_a_class_is_its_index():
    row = TASK.row(np.array([0.0, 5.0, 1.0]), View((), LOGITS, top=1))
    assert [score["label"] for score in row["top"]] == ["1"]


def test_probabilities_stay_and_logits_become_them():
    values = np.array([0.7, 0.2, 0.1], np.float32)
    stay = View(("a", "b", "c"), (OutputSpec("y", ("batch", 3), "float32", "probabilities"),))
    become = View(("a", "b", "c"), LOGITS)
    assert TASK.row(values, stay)["top"][0]["probability"] == 0.7
    wanted = [round(float(share), 6) for share in softmax(values)]
    assert [score["probability"] for score in TASK.row(values, become)["top"]] == wanted


def test_softmax_by_hand():
    assert softmax(np.log([[1.0, 2.0, 5.0]])) == pytest.approx(np.array([[0.125, 0.25, 0.625]]))


@pytest.mark.parametrize("offset", [-1e4, 0, 1e4])
def test_softmax_neither_overflows_nor_moves_with_a_constant(offset):
    logits = np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 0.0]]) + offset
    assert softmax(logits).sum(axis=-1) == pytest.approx(1.0)
    assert softmax(logits) == pytest.approx(softmax(logits - offset))
