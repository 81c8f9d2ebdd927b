import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeproof.calibration.qdq.formats import affine_uint8, quantize_weight, symmetric_int8
from edgeproof.calibration.ranges.statistics import Range

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


ends = st.floats(-1e6, 1e6, width=32)


@given(first=ends, second=ends, position=st.floats(0, 1))
def test_every_value_of_a_range_is_within_half_a_step_of_the_unsigned_grid(first, second, position):
    low, high = min(first, second), max(first, second)
    grid = affine_uint8(Range(low, high))
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    value = low + position * (high - low)
    integer = np.clip(np.rint(value / scale) + zero_point, 0, 255)
    assert grid.zero_point.dtype == np.uint8
    assert abs((integer - zero_point) * scale - value) <= scale * 0.5001


@given(first=ends, second=ends)
def test_zero_lies_on_both_grids(first, second):
    values = Range(min(first, second), max(first, second))
    for grid in (affine_uint8(values), symmetric_int8(values)):
        assert grid.scale > 0
        assert grid.scale.shape == grid.zero_point.shape == ()
    assert symmetric_int8(values).zero_point == 0


@pytest.mark.parametrize(("low", "high", "zero_point"), [(0, 6, 0), (-1, 0, 255), (2, 5, 0), (-5, -2, 255)])
def test_the_unsigned_grid_ends_at_zero_for_values_of_one_sign(low, high, zero_point):
    grid = affine_uint8(Range(low, high))
    assert grid.zero_point == zero_point
    assert grid.scale == pytest.approx(max(abs(low), abs(high)) / 255)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"), [(-1, 254, 1), (-0.6, 254.4, 1), (-127.4, 127.6, 127)]
)
def test_the_zero_point_is_rounded_to_the_nearest_integer(low, high, zero_point):
    assert affine_uint8(Range(low, high)).zero_point == zero_point


@pytest.mark.parametrize("grid", [affine_uint8, symmetric_int8])
def test_what_is_always_zero_has_a_scale_that_float16_can_hold(grid):
    assert np.float16(grid(Range(0, 0)).scale) > 0
    assert np.float16(quantize_weight(np.zeros((1, 3), np.float32), 0)[1]).item() > 0
