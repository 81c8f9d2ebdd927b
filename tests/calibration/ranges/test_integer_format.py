"""The integer formats: what ranges become, and how values are rounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from edgeproof.calibration.ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8, WEIGHT_INT8
from edgeproof.calibration.ranges.statistics import Range


@pytest.fixture(scope="module")
def quantize_linear(build):
    """ONNX Runtime's own QuantizeLinear."""
    graphs = {
        dtype: build(
            f"g (float[n] x, float s, {dtype} z) => ({dtype}[n] q) {{ q = QuantizeLinear(x, s, z) }}"
        )
        for dtype in ("int8", "uint8")
    }

    def quantize_linear(values, grid):
        inputs = {"x": values, "s": grid.scale, "z": grid.zero_point}
        return InferenceSession(graphs[grid.zero_point.dtype.name].data).run(None, inputs)[0]

    return quantize_linear


ends = st.floats(-1e6, 1e6, width=32)


@given(first=ends, second=ends, position=st.floats(0, 1))
def test_every_value_of_a_range_is_within_half_a_step_of_the_unsigned_grid(first, second, position):
    low, high = min(first, second), max(first, second)
    grid = ACTIVATION_UINT8.grid(Range(low, high))
    scale, zero_point = float(grid.scale), int(grid.zero_point)
    value = low + position * (high - low)
    integer = np.clip(np.rint(value / scale) + zero_point, 0, 255)
    assert grid.zero_point.dtype == np.uint8
    assert abs((integer - zero_point) * scale - value) <= scale * 0.5001


@given(first=ends, second=ends)
def test_zero_lies_on_both_grids(first, second):
    values = Range(min(first, second), max(first, second))
    for grid in (ACTIVATION_UINT8.grid(values), ACTIVATION_INT8.grid(values)):
        assert grid.scale > 0
        assert grid.scale.shape == grid.zero_point.shape == ()
    assert ACTIVATION_INT8.grid(values).zero_point == 0


@pytest.mark.parametrize(("low", "high", "zero_point"), [(0, 6, 0), (-1, 0, 255), (2, 5, 0), (-5, -2, 255)])
def test_the_unsigned_grid_ends_at_zero_for_values_of_one_sign(low, high, zero_point):
    grid = ACTIVATION_UINT8.grid(Range(low, high))
    assert grid.zero_point == zero_point
    assert grid.scale == pytest.approx(max(abs(low), abs(high)) / 255)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"), [(-1, 254, 1), (-0.6, 254.4, 1), (-127.4, 127.6, 127)]
)
def test_the_zero_point_is_rounded_to_the_nearest_integer(low, high, zero_point):
    assert ACTIVATION_UINT8.grid(Range(low, high)).zero_point == zero_point


@pytest.mark.parametrize("format_", [ACTIVATION_UINT8, ACTIVATION_INT8], ids=["uint8", "int8"])
def test_what_is_always_zero_has_a_scale_that_float16_can_hold(format_):
    assert np.float16(format_.grid(Range(0, 0)).scale) > 0


@given(value=st.floats(-3e4, 3e4, width=32))
@pytest.mark.parametrize("format_", [ACTIVATION_INT8, ACTIVATION_UINT8], ids=["int8", "uint8"])
def test_activations_saturate_as_onnx_runtime_does_it(format_, value, quantize_linear):
    grid = format_.grid(Range(-100, 100))
    scale, zero = float(grid.scale), int(grid.zero_point)
    values = np.float32([value, value / 64, -scale * 127.5, -scale * 128, scale * 0.5, scale * 1.5])
    got = format_.round(values, grid.scale, zero).astype(format_.dtype)
    np.testing.assert_array_equal(got, quantize_linear(values, grid))


@pytest.mark.parametrize("format_", [ACTIVATION_INT8, WEIGHT_INT8], ids=["activation", "weight"])
def test_a_symmetric_format_mirrors_any_range(format_):
    grid = format_.grid(Range(-1, 3))
    assert (grid.scale, grid.zero_point) == (np.float32(3 / 127), 0)
    assert format_.around(Range(-1, 3)) == Range(-3, 3)


def test_a_weight_and_its_negative_are_rounded_alike():
    values = np.float32([-1e9, -127.5, -0.5, 0.5, 1.5, 1e9])
    np.testing.assert_array_equal(WEIGHT_INT8.round(values, 1), [-127, -127, -0.0, 0, 2, 127])
    np.testing.assert_array_equal(WEIGHT_INT8.round(-values, 1), -WEIGHT_INT8.round(values, 1))
