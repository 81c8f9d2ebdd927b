"""What a candidate costs, and with which sign: more than nothing where it answers worse."""

import numpy as np
import pytest

from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.runtime.errors import ModelError

CLASSES = 4


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
    _, drop = AccuracyDrop(answering(*model), samples, LABELS).measure(answering(*candidate))
    _, changed = AccuracyDrop(answering(*model), samples).measure(answering(*candidate))
    assert drop == labelled
    assert changed == unlabelled


def test_the_labels_are_those_of_the_inputs_in_their_order(answering, samples):
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 2])
    _, drop = AccuracyDrop(answering(*RIGHT), samples, labels).measure(answering(*ONE_WRONG))
    assert drop == 0  # one of the two answers that changed was wrong, and is right now


def test_the_parity_is_that_of_the_answers(answering, samples):
    same, _ = AccuracyDrop(answering(*RIGHT), samples).measure(answering(*RIGHT))
    other, _ = AccuracyDrop(answering(*RIGHT), samples).measure(answering(*TWO_WRONG))
    assert (same.passed, same.samples, same.relative_l2, same.top1_agreement) == (True, 8, 0, 1)
    assert (other.passed, other.top1_agreement) == (False, 0.5)


def test_a_candidate_may_take_the_inputs_in_another_form(answering, samples):
    twice = CalibrationSet(lambda positions: 2 * samples.read(positions), len(samples), "1" * 64)
    evaluation = AccuracyDrop(answering(*RIGHT), samples)
    parity, drop = evaluation.measure(answering(*RIGHT), twice)
    assert drop == 0
    assert parity.max_abs == 1  # the candidate saw 2 where the float model saw 1


@pytest.mark.parametrize("batch", ["1", "3", "batch"])
def test_every_input_counts_once_whatever_batch_the_model_takes(build, samples, batch):
    text = f"g (float[{batch},4] x) => (float[{batch},4] y) {{ y = MatMul(x, w) }}"
    models = [build(text, w=np.eye(4, dtype=np.float32)[list(rows)]).model for rows in (RIGHT, ONE_WRONG)]
    parity, drop = AccuracyDrop(models[0], samples, LABELS).measure(models[1])
    assert parity.samples == 8
    assert drop == 25


def test_a_final_softmax_is_not_measured(vector, samples):
    """Its scores hardly differ; the logits before it do."""
    eye = np.eye(CLASSES, dtype=np.float32)
    softmax = [vector("z = MatMul(x, w) y = Softmax<axis=1>(z)", w=scale * eye).model for scale in (20, 40)]
    parity, _ = AccuracyDrop(softmax[0], samples).measure(softmax[1])
    assert parity.max_abs == pytest.approx(20)


def test_a_model_whose_first_output_holds_no_scores_is_refused(build, samples):
    model = build(
        "g (float[batch,4] x) => (float[batch] y) { y = ReduceSum<keepdims=0>(x, a) }", a=np.array([1])
    )
    with pytest.raises(ModelError, match="does not hold scores"):
        AccuracyDrop(model.model, samples)
