"""Rounding with the inputs in view does less harm to the output than rounding each weight alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.recovery.gptq import best_steps, damped, round_together

problems = st.builds(
    lambda seed, groups, rows, columns: problem(seed, groups, rows, columns),
    st.integers(0, 2**31),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
)


def problem(seed, groups, rows, columns):
    """Weights, and the covariance of inputs that have much in common."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(groups, columns, columns, generator=generator, dtype=torch.float64)
    mixing[:, :, 0] += 2
    inputs = torch.randn(groups, 64, columns, generator=generator, dtype=torch.float64) @ mixing
    weights = torch.randn(groups, rows, columns, generator=generator, dtype=torch.float64)
    return weights, damped(inputs.transpose(1, 2) @ inputs / 64)


def damage(error, covariance):
    """Mean square of what an error of the weights does to the output."""
    return float(((error @ covariance) * error).sum())


def nearest(weights, steps):
    return (weights / steps).round().clamp(-127, 127)


@given(problems)
def test_integers_are_whole_and_within_int8(case):
    weights, covariance = case
    integers = round_together(weights, covariance, best_steps(weights, covariance))

    assert torch.equal(integers, integers.round())
    assert integers.abs().max() <= 127


def test_it_does_less_harm_than_the_nearest_integers():
    weights, covariance = problem(0, groups=2, rows=16, columns=300)
    steps = best_steps(weights, covariance)

    together = damage(round_together(weights, covariance, steps) * steps - weights, covariance)

    assert together < 0.3 * damage(nearest(weights, steps) * steps - weights, covariance)


def test_the_best_steps_do_no_more_harm_than_those_of_the_largest_weight():
    weights, covariance = problem(1, groups=1, rows=8, columns=9)
    largest = weights.abs().amax(dim=2, keepdim=True) / 127
    steps = best_steps(weights, covariance)

    for row in range(8):
        harm = [
            damage((nearest(weights, s) * s - weights)[:, row : row + 1], covariance)
            for s in (steps, largest)
        ]
        assert harm[0] <= harm[1]


@given(problems)
def test_inputs_that_have_nothing_in_common_leave_nothing_to_make_up_for(case):
    weights, covariance = case
    apart = torch.eye(weights.shape[2], dtype=torch.float64).expand_as(covariance)
    steps = best_steps(weights, apart)

    torch.testing.assert_close(round_together(weights, apart, steps), nearest(weights, steps))


@pytest.mark.parametrize("weight", [0.0, 3.5])
def test_dead_inputs_and_dead_weights_are_no_trouble(weight):
    weights = torch.full((1, 2, 3), weight, dtype=torch.float64)
    covariance = damped(torch.zeros(1, 3, 3, dtype=torch.float64))
    steps = best_steps(weights, covariance)

    torch.testing.assert_close(round_together(weights, covariance, steps) * steps, weights)
