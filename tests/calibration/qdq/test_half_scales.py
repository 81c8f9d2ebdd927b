"""Step sizes of weights that float16 holds in full."""

import numpy as np
import onnx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.qdq.half_scales import HALF_NORMAL, lift_scales

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


@given(INTEGERS, SCALES)
def test_weights_move_by_at_most_half_the_smallest_step(integers, scales):
    model = pair(integers, scales)
    before = values(model)
    lift_scales(model)
    assert (array_of(initializers(model)["s"]) >= HALF_NORMAL).all()
    assert np.abs(values(model) - before).max() <= HALF_NORMAL / 2 * 1.001


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
