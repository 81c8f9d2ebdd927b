"""What a candidate costs, and with which sign: more than nothing where it answers worse."""

import numpy as np
import pytest

from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.runtime.errors import ModelError, TaskError
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.tasks.segmentation import Segmentation

CLASSES = 4
CLASSES_OF = Classification()


@pytest.fixture
def samples():
    """Eight inputs, two of each class: of the identity the answer is the class."""
    inputs = np.tile(np.eye(CLASSES, dtype=np.float32), (2, 1))
    return CalibrationSet(lambda positions: inputs[np.asarray(positions)], len(inputs), "0" * 64)


@pytest.fixture
def answering(vector):
    """A model that answers with these classes to an input of class 0, 1, 2 and 3."""

    def answering(*answers):
        return vector("y = MatMul(x, w)", w=np.eye(CLASSES, dtype=np.float32)[list(answers)]).model

    return answering


RIGHT, ONE_WRONG, OTHER_WRONG, TWO_WRONG = (0, 1, 2, 3), (0, 1, 2, 2), (1, 1, 2, 3), (1, 1, 2, 2)
LABELS = np.tile(np.arange(CLASSES), 2)


@pytest.mark.parametrize(
    ("model", "candidate", "labelled", "unlabelled"),
    [
        (RIGHT, RIGHT, 0, 0),
        (RIGHT, ONE_WRONG, 25, 25),
        (RIGHT, TWO_WRONG, 50, 50),
        (TWO_WRONG, ONE_WRONG, -25, 25),  # better than the float model: a gain, though an answer changed
        (TWO_WRONG, RIGHT, -50, 50),
        (ONE_WRONG, OTHER_WRONG, 0, 50),  # as many right answers, but others
    ],
)
def test_right_answers_that_are_lost_count_and_without_labels_those_that_changed(
    answering, samples, model, candidate, labelled, unlabelled
):
    known = AccuracyDrop(answering(*model), samples, CLASSES_OF, LABELS).measure(answering(*candidate))
    unknown = AccuracyDrop(answering(*model), samples, CLASSES_OF).measure(answering(*candidate))
    assert known.accuracy.drop == labelled
    assert unknown.accuracy.drop == unlabelled
    assert (known.accuracy.metric, unknown.accuracy.metric) == ("top-1", "top-1 agreement")


def test_the_labels_are_those_of_the_inputs_in_their_order(answering, samples):
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 2])
    judged = AccuracyDrop(answering(*RIGHT), samples, CLASSES_OF, labels).measure(answering(*ONE_WRONG))
    assert judged.accuracy.drop == 0  # one of the two answers that changed was wrong, and is right now


def test_the_parity_is_that_of_the_answers(answering, samples):
    evaluation = AccuracyDrop(answering(*RIGHT), samples, CLASSES_OF)
    same = evaluation.measure(answering(*RIGHT)).parity
    other = evaluation.measure(answering(*TWO_WRONG)).parity
    assert (same.passed, same.samples, same.relative_l2, same.top1_agreement) == (True, 8, 0, 1)
    assert (other.passed, other.top1_agreement) == (False, 0.5)


def test_a_candidate_may_take_the_inputs_in_another_form(answering, samples):
    twice = CalibrationSet(lambda positions: 2 * samples.read(positions), len(samples), "1" * 64)
    evaluation = AccuracyDrop(answering(*RIGHT), samples, CLASSES_OF)
    judged = evaluation.measure(answering(*RIGHT), twice)
    assert judged.accuracy.drop == 0
    assert judged.parity.max_abs == 1  # the candidate saw 2 where the float model saw 1


@pytest.mark.parametrize("batch", ["1", "3", "batch"])
def test_every_input_counts_once_whatever_batch_the_model_takes(build, samples, batch):
    text = f"g (float[{batch},4] x) => (float[{batch},4] y) {{ y = MatMul(x, w) }}"
    models = [build(text, w=np.eye(4, dtype=np.float32)[list(rows)]).model for rows in (RIGHT, ONE_WRONG)]
    judged = AccuracyDrop(models[0], samples, CLASSES_OF, LABELS).measure(models[1])
    assert (judged.parity.samples, judged.accuracy.samples) == (8, 8)
    assert judged.accuracy.drop == 25


def test_a_final_softmax_is_not_measured(vector, samples):
    """Its scores hardly differ; the logits before it do."""
    eye = np.eye(CLASSES, dtype=np.float32)
    softmax = [vector("z = MatMul(x, w) y = Softmax<axis=1>(z)", w=scale * eye).model for scale in (20, 40)]
    judged = AccuracyDrop(softmax[0], samples, CLASSES_OF).measure(softmax[1])
    assert judged.parity.max_abs == pytest.approx(20)


def test_what_ends_in_a_sigmoid_is_thresholded_as_it_is_put_out(build):
    """The error is that of the logits, and the map that of the probabilities, above 0.3 here."""
    text = "g (float[batch,1,4,4] x) => (float[batch,1,4,4] y) { z = Mul(x, s) y = Sigmoid(z) }"
    model, other = (build(text, s=np.array(scale, np.float32)).model for scale in (1, 0.7))
    inputs = np.linspace(-2, 2, 64, dtype=np.float32).reshape(4, 1, 4, 4)
    samples = CalibrationSet(lambda positions: inputs[np.asarray(positions)], 4, "0" * 64)
    judged = AccuracyDrop(model, samples, Segmentation(threshold=0.3)).measure(other)
    was, now = (1 / (1 + np.exp(-scale * inputs)) > 0.3 for scale in (1, 0.7))
    assert judged.parity.max_abs == pytest.approx(0.6, abs=1e-6)
    assert judged.accuracy.value == pytest.approx(100 * (was & now).sum() / (was | now).sum())
    assert judged.accuracy.drop > 0


def test_every_output_is_judged(build, samples):
    text = "g (float[batch,4] x) => (float[batch,4] y, float[batch,4] z) { y = MatMul(x, w) z = Mul(y, s) }"
    eye = np.eye(CLASSES, dtype=np.float32)
    model, other = (build(text, w=eye, s=np.array(scale, np.float32)).model for scale in (1, 0.5))
    judged = AccuracyDrop(model, samples, Raw()).measure(other)
    assert not judged.parity
    assert judged.parity.output == "z"
    assert [part.name for part in judged.parity.parts] == ["y", "z"]


def test_answers_of_one_score_are_no_classification(build, samples):
    model = build(
        "g (float[batch,4] x) => (float[batch,1] y) { y = ReduceSum<keepdims=1>(x, a) }", a=np.array([1])
    ).model
    with pytest.raises(TaskError, match="is no classification") as caught:
        AccuracyDrop(model, samples, CLASSES_OF)
    assert "--task raw" in str(caught.value)


def test_inputs_in_which_the_model_finds_nothing_judge_nothing(build, samples):
    text = "g (float[batch,4] x) => (float[batch,1,2,2] y) { y = Reshape(x, shape) }"
    model = build(text, shape=np.array([0, 1, 2, 2])).model
    with pytest.raises(TaskError, match="cannot be judged on these 8 inputs"):
        AccuracyDrop(model, samples, Segmentation(threshold=2.0))


def test_an_output_without_a_row_for_each_input_is_refused(build, samples):
    model = build(
        "g (float[batch,4] x) => (float[4] y) { y = ReduceSum<keepdims=0>(x, a) }", a=np.array([0])
    ).model
    with pytest.raises(ModelError, match="does not have a row for each input"):
        AccuracyDrop(model, samples, Raw())
