"""The error on the way through a model."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeproof.calibration.onnx_graph.depth import FloatValues, errors_by_depth, matched, unexplained

BODY = "h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)"


@pytest.fixture
def weights(rng):
    return {name: rng(i).standard_normal((4, 4)).astype(np.float32) for i, name in enumerate("wv")}


@pytest.fixture
def samples(rng):
    return rng(9).standard_normal((40, 4)).astype(np.float32)


def changed(model: onnx.ModelProto, name: str, change) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    tensor = next(each for each in other.graph.initializer if each.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return other


def test_a_model_has_no_error_against_itself(vector, weights, samples):
    model = vector(BODY, **weights).model
    found = errors_by_depth(model, model, samples)
    assert [error.value for error in found] == ["h", "y"]
    assert [error.relative for error in found] == pytest.approx([0, 0], abs=1e-6)


def test_the_error_begins_where_the_change_is(vector, weights, samples):
    model = vector(BODY, **weights).model
    last = errors_by_depth(model, changed(model, "v", lambda v: v + np.eye(4)), samples)
    first = errors_by_depth(model, changed(model, "w", lambda w: w + np.eye(4)), samples)
    assert last[0].relative == pytest.approx(0, abs=1e-6)
    assert last[1].relative > 0.1
    assert first[0].relative > 0.1
    assert "MatMul" in first[0].node


def test_what_is_scaled_on_purpose_is_no_error(vector, weights, samples):
    model = vector(BODY, **weights).model
    scaled = changed(changed(model, "w", lambda w: 8 * w), "v", lambda v: v / 8)
    assert [error.relative for error in errors_by_depth(model, scaled, samples)] == pytest.approx(
        [0, 0], abs=1e-5
    )


def test_values_of_one_form_alone_are_left_out(vector, weights, samples):
    model = vector(BODY, **weights).model
    other = vector("k = MatMul(x, w) r = Relu(k) y = MatMul(r, v)", **weights).model
    assert [error.value for error in errors_by_depth(model, other, samples)] == ["y"]


def test_noise_of_a_known_size_is_found(vector, rng):
    """Against x alone, x plus independent noise of a tenth of its size leaves about a tenth unexplained."""
    clean = np.diag([1, 1, 0, 0]).astype(np.float32)
    noisy = clean.copy()
    noisy[2, 0] = noisy[3, 1] = 0.1
    samples = rng(3).standard_normal((4000, 4)).astype(np.float32)
    model, other = (vector("y = MatMul(x, w)", w=w).model for w in (clean, noisy))
    (error,) = errors_by_depth(model, other, samples)
    assert error.relative == pytest.approx(0.1, rel=0.1)


def test_a_value_that_is_nan_has_an_error_of_one():
    wanted = {"a": np.array([[1.0, 2.0]], np.float32)}
    got = {"a": np.array([[np.nan, 2.0]], np.float32)}
    assert unexplained(["a"], [(wanted, wanted), (wanted, got)]) == [1.0]


def test_values_of_other_sizes_are_no_form_of_each_other():
    pair = {"a": np.ones((1, 3), np.float32)}, {"a": np.ones((1, 4), np.float32)}
    assert unexplained(["a"], [pair]) == [1.0]


def test_a_layer_may_be_named_after_the_batch_norm_that_was_folded_into_it():
    before = FloatValues({"conv": "Conv", "norm": "BatchNormalization"}, frozenset({"conv"}))
    after = FloatValues({"norm": "Conv"}, frozenset({"norm"}))
    assert matched(before, after) == matched(after, before) == ["norm"]
