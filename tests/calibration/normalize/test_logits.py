"""The logits before a final Softmax or Sigmoid, and the way back."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.normalize.logits import (
    LOGITS,
    showing_logits,
    with_final_activation,
    without_final_activation,
)

EYE = np.eye(4, dtype=np.float32)
ENDINGS = ["Softmax(s)", "Softmax<axis=1>(s)", "LogSoftmax(s)", "Sigmoid(s)"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_last_node_goes_and_comes_back(vector, rng, run, ending):
    whole = vector(f"s = MatMul(x, w) y = {ending}", w=EYE).model
    x = rng(1).standard_normal((3, 4)).astype(np.float32)

    scores = without_final_activation(whole)
    back = with_final_activation(scores, whole)

    onnx.checker.check_model(scores, full_check=True)
    np.testing.assert_array_equal(run(scores, x)["s"], x)
    assert back == whole


def test_a_recorded_shape_of_the_scores_is_not_in_the_way(vector):
    inferred = onnx.shape_inference.infer_shapes(vector("s = MatMul(x, w) y = Softmax(s)", w=EYE).model)

    scores = without_final_activation(inferred)

    onnx.checker.check_model(scores, full_check=True)
    assert [info.name for info in scores.graph.value_info] == []


@pytest.mark.parametrize(
    "body",
    ["y = MatMul(x, w)", "p = Softmax(x) y = MatMul(p, w)", "y = Softmax(x)"],
    ids=["scores", "in the middle", "of the input itself"],
)
def test_other_models_are_left_as_they_are(vector, body):
    whole = vector(body, **({"w": EYE} if "w" in body else {})).model

    assert without_final_activation(whole) is whole
    assert with_final_activation(whole, whole) is whole


def test_a_model_of_several_outputs_is_left_as_it_is(build):
    whole = build(
        "g (float[batch,4] x) => (float[batch,4] y, float[batch,4] s) { s = MatMul(x, w) y = Softmax(s) }",
        w=EYE,
    ).model

    assert without_final_activation(whole) is whole


def test_the_logits_of_a_float16_model_are_those_before_the_cast(vector, rng, run):
    body = "h = Cast<to=10>(x) m = MatMul(h, w) p = Softmax(m) y = Cast<to=1>(p)"
    whole = vector(body, w=EYE.astype(np.float16)).model
    x = rng(1).standard_normal((3, 4)).astype(np.float16).astype(np.float32)
    shown = run(showing_logits(whole), x)
    np.testing.assert_array_equal(shown[LOGITS], x)
    assert shown[LOGITS].dtype == np.float32
