"""Rounding with the inputs in view does less harm to the output than rounding each weight alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.ranges.integer_format import WEIGHT_INT8
from edgeproof.calibration.recovery.gptq import Moments, best_steps, damped, round_together

problems = st.builds(
    lambda seed, groups, rows, columns: problem(seed, groups, rows, columns),
    st.integers(0, 2**31),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
)


def problem(seed, groups, rows, columns):
    """Weights, and the covariance of inputs that have much in common."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((groups, columns, columns))
    mixing[:, :, 0] += 2
    inputs = random.standard_normal((groups, 64, columns)) @ mixing
    weights = random.standard_normal((groups, rows, columns))
    return weights, damped(inputs.transpose(0, 2, 1) @ inputs / 64)


def damage(error, covariance):
    """Mean square of what an error of the weights does to the output."""
    return float(((error @ covariance) * error).sum())


@given(problems)
def test_integers_are_whole_and_within_int8(case):
    weights, covariance = case
    integers = round_together(weights, covariance, best_steps(weights, covariance))

    np.testing.assert_array_equal(integers, np.rint(integers))
    assert np.abs(integers).max() <= 127


def test_it_does_less_harm_than_the_nearest_integers():
    weights, covariance = problem(0, groups=2, rows=16, columns=300)
    steps = best_steps(weights, covariance)

    together = damage(round_together(weights, covariance, steps) * steps - weights, covariance)

    assert together < 0.3 * damage(WEIGHT_INT8.round(weights, steps) * steps - weights, covariance)


def test_the_best_steps_do_no_more_harm_than_those_of_the_largest_weight():
    weights, covariance = problem(1, groups=1, rows=8, columns=9)
    largest = np.abs(weights).max(axis=2, keepdims=True) / 127
    steps = best_steps(weights, covariance)

    for row in range(8):
        harm = [
            damage((WEIGHT_INT8.round(weights, s) * s - weights)[:, row : row + 1], covariance)
            for s in (steps, largest)
        ]
        assert harm[0] <= harm[1]


@given(problems)
def test_inputs_that_have_nothing_in_common_leave_nothing_to_make_up_for(case):
    weights, covariance = case
    apart = np.broadcast_to(np.eye(weights.shape[2]), covariance.shape)
    steps = best_steps(weights, apart)

    np.testing.assert_array_equal(round_together(weights, apart, steps), WEIGHT_INT8.round(weights, steps))


@pytest.mark.parametrize("weight", [0.0, 3.5])
def test_dead_inputs_and_dead_weights_are_no_trouble(weight):
    weights = np.full((1, 2, 3), weight)
    covariance = damped(np.zeros((1, 3, 3)))
    steps = best_steps(weights, covariance)

    np.testing.assert_allclose(round_together(weights, covariance, steps) * steps, weights)


def test_moments_gathered_in_pieces_are_those_of_all_inputs(rng):
    inputs = rng(0).standard_normal((2, 50, 3)) + 5
    moments = Moments()
    for piece in np.split(inputs, [7, 30], axis=1):
        moments.add(piece.astype(np.float32))

    for group in range(2):
        expected = np.cov(inputs[group].T, bias=True)
        np.testing.assert_allclose(moments.covariance(centred=True)[group], expected, rtol=1e-4, atol=1e-5)
    around_zero = inputs.transpose(0, 2, 1) @ inputs / 50
    np.testing.assert_allclose(moments.covariance(centred=False), around_zero, rtol=1e-5)
