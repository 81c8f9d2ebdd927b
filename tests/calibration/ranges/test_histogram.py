import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeproof.calibration.ranges.histogram import EMPTY, SIDE

# What float32 can hold without losing the smallest part of a bin to its subnormal numbers.
finite = st.floats(-1e6, 1e6, width=32).filter(lambda value: value == 0 or abs(value) > 1e-20)
values = arrays(np.float32, st.integers(1, 60), elements=finite)


def count(*parts):
    histogram = EMPTY
    for part in parts:
        histogram = histogram.including(part, float(part.min()), float(part.max()))
    return histogram


@given(values)
def test_every_value_is_counted_in_the_bin_that_holds_it(sample):
    histogram = count(sample)
    edges = np.append(histogram.centres - histogram.width / 2, histogram.centres[-1] + histogram.width / 2)
    expected, _ = np.histogram(sample.astype(np.float64), edges)
    assert (histogram.counts == expected).all()
    assert (histogram.low, histogram.high) == (sample.min(), sample.max())


@given(st.lists(values, min_size=1, max_size=6), st.randoms())
def test_neither_order_nor_division_changes_the_counts(parts, random):
    whole = count(np.concatenate(parts))
    shuffled = random.sample(parts, len(parts))
    histogram = count(*shuffled)
    assert (histogram.counts == whole.counts).all()
    assert histogram.exponent == whole.exponent


@given(values.filter(lambda sample: np.abs(sample).max() > 0))
def test_on_the_side_that_reaches_further_half_the_bins_lie_within_the_extremes(sample):
    histogram = count(sample)
    used = np.abs(sample).max() / histogram.width
    assert SIDE / 2 <= used <= SIDE


@given(values, st.integers(-20, 20))
def test_scaling_by_a_power_of_two_scales_the_bins(sample, power):
    plain, scaled = count(sample), count(sample * np.float32(2.0**power))
    if np.abs(sample).max() > 0:
        assert (plain.counts == scaled.counts).all()
        assert scaled.width == plain.width * 2.0**power


@settings(max_examples=20)
@given(st.integers(1, 200))
def test_memory_does_not_grow_with_the_values(parts):
    histogram = count(*[np.full(10, index, np.float32) for index in range(parts)])
    assert histogram.counts.shape == (2 * SIDE,)
    assert histogram.counts.sum() == 10 * parts


def test_a_dead_tensor_that_wakes_up_keeps_its_zeros_at_zero():
    histogram = count(np.zeros(5, np.float32), np.array([-3, 100], np.float32))
    assert histogram.counts[SIDE] == 5
    assert histogram.counts.sum() == 7


@pytest.mark.parametrize("magnitude", [1e-38, 1e-30, 1.0, 3e38])
def test_any_magnitude_that_float32_has_can_be_counted(magnitude):
    histogram = count(np.array([magnitude, -magnitude], np.float32))
    assert histogram.counts.sum() == 2
