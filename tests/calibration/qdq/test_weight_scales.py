"""Step sizes of weights: the best of the candidates, and no worse than the largest magnitude's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.qdq.formats import round_weight, weight_scale
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.qdq.weight_scales import best_scale, best_scales, on_grid


def square_error(weight, axis, scales):
    """Of each channel, after rounding to these step sizes."""
    shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return np.square(round_weight(weight, axis, scales) * scales.reshape(shape) - weight).sum(axis=others)


@given(
    weight=hnp.arrays(np.float32, (2, 3, 2), elements=st.floats(-100, 100, width=32)),
    axis=st.integers(0, 2),
)
def test_no_channel_is_rounded_worse_than_to_its_largest_magnitude(weight, axis):
    chosen = best_scale(weight, axis)
    assert chosen.dtype == np.float32
    assert chosen.shape == (weight.shape[axis],)
    widest = square_error(weight, axis, weight_scale(weight, axis))
    assert (square_error(weight, axis, chosen) <= widest * (1 + 1e-6)).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_of_all_step_sizes_down_to_half_the_best_is_taken_for_each_channel(rng, axis):
    weight = rng(3).standard_normal((6, 400)).astype(np.float32)
    weight = np.ascontiguousarray(weight if axis == 0 else weight.T)
    widest = weight_scale(weight, axis)
    every = [(widest * share).astype(np.float32) for share in np.linspace(1, 0.5, 32)]
    least = np.min([square_error(weight, axis, scales) for scales in every], axis=0)
    np.testing.assert_allclose(square_error(weight, axis, best_scale(weight, axis)), least, rtol=1e-6)


def test_an_outlier_is_clipped_where_many_small_weights_gain_by_it(rng):
    many = np.append(rng(5).uniform(-30, 30, 100_000), 100).astype(np.float32)
    assert best_scale(many[None], 0)[0] < 0.9 * 100 / 127


def test_weights_that_the_widest_step_holds_exactly_keep_it():
    assert best_scale(np.linspace(-127, 127, 255, dtype=np.float32)[None], 0)[0] == 1


def test_of_step_sizes_that_serve_alike_the_widest_is_kept():
    dead = np.zeros((2, 5), np.float32)
    np.testing.assert_array_equal(best_scale(dead, 0), weight_scale(dead, 0))


def test_each_weight_of_a_network_has_step_sizes_and_lies_on_their_grid(network):
    sites = find_quantized_inputs(network.model)
    scales = best_scales(network.model, sites)
    rounded = on_grid(network.model, sites, scales)
    before, after = initializers(network.model), initializers(rounded)
    weights = {site.value: site.axis for site in sites if site.axis is not None}
    assert scales.keys() == weights.keys() == {"conv_w", "depthwise_w", "excite_w", "head_w"}
    for name, axis in weights.items():
        weight, values = array_of(before[name]), array_of(after[name])
        np.testing.assert_array_equal(scales[name], best_scale(weight, axis))
        shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
        steps = values / scales[name].reshape(shape)
        np.testing.assert_allclose(steps, round_weight(weight, axis, scales[name]), atol=1e-4)
    assert all(before[name] == after[name] for name in before if name not in weights)
