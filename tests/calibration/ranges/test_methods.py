import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.calibration.ranges.histogram import EMPTY
from edgeproof.calibration.ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8
from edgeproof.calibration.ranges.methods import (
    METHODS,
    entropy_range,
    max_range,
    mse_range,
    percentile_range,
    square_error,
)
from edgeproof.calibration.ranges.statistics import Range

GRIDS = {"symmetric": ACTIVATION_INT8, "affine": ACTIVATION_UINT8}
SHAPES = {
    "normal": lambda random, n: random.standard_normal(n),
    "heavy tail": lambda random, n: random.standard_t(3, n),
    "rectified": lambda random, n: np.maximum(random.standard_normal(n), 0),
    "shifted": lambda random, n: random.normal(3, 0.5, n),
    "negative": lambda random, n: -np.abs(random.standard_normal(n)),
    "skewed": lambda random, n: random.gumbel(0, 1, n),
    "two values": lambda random, n: random.choice([-1.0, 2.0], n),
    "outlier": lambda random, n: np.append(random.standard_normal(n), 300.0),
}
methods = pytest.mark.parametrize("method", METHODS)
grids = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
samples = st.builds(
    lambda shape, seed, n: SHAPES[shape](np.random.default_rng(seed), n).astype(np.float32),
    st.sampled_from(sorted(SHAPES)),
    st.integers(0, 1000),
    st.integers(1, 3000),
)


def count(values):
    values = np.asarray(values, np.float32)
    return EMPTY.including(values, float(values.min()), float(values.max()))


@pytest.fixture(scope="module")
def draw(rng):
    return lambda shape, n=50_000: SHAPES[shape](rng(7), n).astype(np.float32)


@methods
@settings(max_examples=25)
@given(values=samples)
def test_symmetric_ranges_mirror_zero_and_lie_within_the_extremes(method, values):
    found = METHODS[method](count(values), ACTIVATION_INT8)
    assert found.low == -found.high
    assert 0 <= found.high <= np.abs(values).max()


@methods
@settings(max_examples=25)
@given(values=samples)
def test_affine_ranges_hold_zero_and_lie_within_the_extremes(method, values):
    found = METHODS[method](count(values), ACTIVATION_UINT8)
    assert min(0, values.min()) <= found.low <= 0 <= found.high <= max(0, values.max())


@grids
@settings(max_examples=25)
@given(values=samples)
def test_no_other_method_has_a_smaller_square_error(grid, values):
    histogram = count(values)
    least = square_error(histogram, grid, mse_range(histogram, grid))
    assert least <= square_error(histogram, grid, max_range(histogram, grid))
    if (
        grid is ACTIVATION_INT8
    ):  # the ends of an affine range are searched in turns, which may miss the very best
        for find in METHODS.values():
            assert least <= square_error(histogram, grid, find(histogram, grid)) * 1.1


@grids
@methods
@settings(max_examples=15)
@given(values=samples, power=st.integers(-12, 12))
def test_scaling_the_values_scales_the_range(method, grid, values, power):
    find, factor = METHODS[method], 2.0**power
    plain, scaled = find(count(values), grid), find(count(values * np.float32(factor)), grid)
    assert scaled.low == pytest.approx(plain.low * factor, rel=1e-6)
    assert scaled.high == pytest.approx(plain.high * factor, rel=1e-6)


@settings(max_examples=25)
@given(values=samples)
def test_the_sign_of_the_values_does_not_change_the_widest_symmetric_range(values):
    assert max_range(count(values), ACTIVATION_INT8) == max_range(count(-values), ACTIVATION_INT8)


@grids
@methods
@pytest.mark.parametrize("value", [0.0, 2.5, -1e-3, 1e-30], ids=str)
def test_a_constant_tensor_has_a_range(method, grid, value):
    found = METHODS[method](count(np.full(100, value)), grid)
    assert np.isfinite([found.low, found.high]).all()
    assert found.low <= 0 <= found.high
    assert found.absmax <= abs(np.float32(value))


@grids
def test_the_maximum_clips_nothing(grid, draw):
    values = draw("skewed")
    found = max_range(count(values), grid)
    assert found.low <= values.min()
    assert found.high >= values.max()


@pytest.mark.parametrize("shape", ["normal", "heavy tail", "skewed", "outlier"])
def test_the_percentile_is_numpys(draw, shape):
    values = draw(shape, 50_077)  # no whole number of values lies outside
    histogram = count(values)
    found = percentile_range(histogram, ACTIVATION_UINT8)
    low, high = np.percentile(values, [0.01, 99.99], method="inverted_cdf")
    assert found.low == pytest.approx(low, abs=1.01 * histogram.width)
    assert found.high == pytest.approx(high, abs=1.01 * histogram.width)


@pytest.mark.parametrize("find", [percentile_range, entropy_range])
@grids
def test_a_lonely_outlier_does_not_widen_the_range(find, grid, draw):
    assert find(count(draw("outlier")), grid).high < 60


def test_the_error_is_that_of_quantizing_the_values(draw):
    values, chosen = draw("normal"), Range(-2.5, 2.5)
    scale = 2.5 / 127
    expected = np.mean((np.clip(np.rint(values / scale), -128, 127) * scale - values) ** 2)
    assert square_error(count(values), ACTIVATION_INT8, chosen) == pytest.approx(expected, rel=0.05)


def test_the_affine_error_is_that_of_quantizing_with_a_zero_point(draw):
    values, chosen = draw("shifted"), Range(-0.5, 5.0)
    scale = 5.5 / 255
    zero = np.rint(0.5 / scale)
    integers = np.clip(np.rint(values / scale) + zero, 0, 255)
    expected = np.mean(((integers - zero) * scale - values) ** 2)
    assert square_error(count(values), ACTIVATION_UINT8, chosen) == pytest.approx(expected, rel=0.05)


def test_the_best_clipping_of_a_normal_tensor_at_8_bits_is_near_four_deviations(draw):
    """Table of Banner et al., "Post training 4-bit quantization" (arXiv 1810.05723): 3.92 deviations."""
    assert mse_range(count(draw("normal", 1_000_000)), ACTIVATION_INT8).high == pytest.approx(3.92, rel=0.08)


def test_entropy_is_not_misled_by_the_zeros_of_an_activation_function(draw):
    rectified = draw("rectified")
    crowded = np.concatenate([rectified, np.zeros(10 * len(rectified), np.float32)])
    found, expected = (entropy_range(count(values), ACTIVATION_INT8) for values in (crowded, rectified))
    assert found.high == pytest.approx(expected.high, rel=0.05)


def test_an_affine_grid_spends_all_levels_on_a_rectified_tensor(draw):
    histogram = count(draw("rectified"))
    affine, symmetric = (
        square_error(histogram, grid, mse_range(histogram, grid))
        for grid in (ACTIVATION_UINT8, ACTIVATION_INT8)
    )
    assert affine < symmetric / 3


def test_methods_go_by_the_names_that_evidence_and_documents_give_them():
    assert list(METHODS) == ["max", "percentile", "entropy", "mse"]
