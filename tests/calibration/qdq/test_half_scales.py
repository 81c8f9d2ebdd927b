"""Step sizes of weights that float16 holds in full."""

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.qdq.half_scales import HALF_NORMAL, MOST_LOST, lift_scales

SCALES = arrays(np.float32, 3, elements=st.floats(2**-30, 1, width=32))
INTEGERS = arrays(np.int8, (3, 5), elements=st.integers(-127, 127))


def pair(integers, scales, axis=0):
    node = helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=axis)
    tensors = [numpy_helper.from_array(integers, "q"), numpy_helper.from_array(scales, "s")]
    return helper.make_model(helper.make_graph([node], "g", [], [], tensors))


def values(model, axis=0):
    tensors = initializers(model)
    shape = [-1 if i == axis else 1 for i in range(2)]
    return array_of(tensors["q"]) * array_of(tensors["s"]).reshape(shape)


def pair_values(integers, scales):
    return values(pair(integers, scales))


@given(INTEGERS, SCALES)
def test_weights_move_by_at_most_half_the_smallest_step_and_lose_little(integers, scales):
    model = pair(integers, scales)
    before = values(model).astype(np.float64)
    lift_scales(model)
    lost = values(model) - before
    assert np.abs(lost).max() <= HALF_NORMAL / 2 * 1.001
    assert np.sum(lost**2) <= MOST_LOST * np.sum(before**2) * 1.001
    held = (array_of(initializers(model)["s"]) >= HALF_NORMAL).all()
    assert held or np.array_equal(values(model), pair_values(integers, scales))


def test_weights_that_would_be_lost_stay_as_they_are():
    integers = np.array([[127, -90, 3], [40, 100, -127]], np.int8)
    tiny = np.array([1e-6, 7e-7], np.float32)
    model = pair(integers, tiny)
    lift_scales(model)
    assert np.array_equal(array_of(initializers(model)["s"]), tiny)
    assert np.array_equal(array_of(initializers(model)["q"]), integers)


def test_a_channel_that_is_next_to_nothing_keeps_none_back():
    integers = np.array([[127, -90, 3], [40, 100, -127]], np.int8)
    model = pair(integers, np.array([1e-2, 1e-9], np.float32))
    lift_scales(model)
    assert array_of(initializers(model)["s"])[1] == HALF_NORMAL


@given(INTEGERS, SCALES)
def test_what_float16_holds_stays_as_it_is(integers, scales):
    model = pair(integers, np.maximum(scales, np.float32(HALF_NORMAL)))
    before = onnx.ModelProto.FromString(model.SerializeToString())
    lift_scales(model)
    assert model == before


def test_the_axis_of_the_scales_is_kept_to():
    model = pair(np.full((2, 3), 100, np.int8), np.array([1, 1e-5, 1], np.float32), axis=1)
    lift_scales(model)
    np.testing.assert_array_equal(array_of(initializers(model)["q"]), [[100, 16, 100], [100, 16, 100]])
