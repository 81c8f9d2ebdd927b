import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeproof.calibration.qdq.formats import quantize_weight

matrices = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(weight=matrices, data=st.data())
def test_a_weight_comes_back_within_half_a_step(weight, data):
    axis = data.draw(st.integers(0, weight.ndim - 1))
    integers, scales = quantize_weight(weight, axis)
    steps = scales.astype(np.float64).reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    assert integers.dtype == np.int8
    assert integers.shape == weight.shape
    assert (np.abs(integers * steps - weight) <= steps * 0.5001).all()


@given(weight=matrices, data=st.data())
def test_weight_scales_are_usable_and_integers_symmetric(weight, data):
    axis = data.draw(st.integers(0, weight.ndim - 1))
    integers, scales = quantize_weight(weight, axis)
    assert scales.dtype == np.float32
    assert scales.shape == (weight.shape[axis],)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert (integers >= -127).all()
    mirrored, same_scales = quantize_weight(-weight, axis)
    np.testing.assert_array_equal(mirrored, -integers)
    np.testing.assert_array_equal(same_scales, scales)


def test_a_dead_channel_has_a_scale_and_leaves_the_others_alone():
    weight = np.float32([[0, 0, 0], [1, -2, 4]])
    integers, scales = quantize_weight(weight, 0)
    np.testing.assert_array_equal(integers, [[0, 0, 0], [32, -64, 127]])
    assert scales[0] > 0
    assert scales[1] == pytest.approx(4 / 127)


def test_a_dead_channel_has_a_scale_that_float16_can_hold():
    assert np.float16(quantize_weight(np.zeros((1, 3), np.float32), 0)[1]).item() > 0
