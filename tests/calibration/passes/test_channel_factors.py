"""A factor a channel in front of depthwise convolutions that cannot be equalized otherwise."""

import numpy as np
import pytest

from edgeproof.calibration.passes.channel_factors import with_channel_factors
from edgeproof.calibration.passes.cross_layer_equalization import channel_statistics, equalize, find_pairs

ACTIVATIONS = ["between = HardSwish(conv)", "gate = Sigmoid(conv) between = Mul(conv, gate)"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_equalization_reaches_what_it_could_not(depthwise_chain, photos, run, activation):
    model = depthwise_chain(activation)
    assert find_pairs(model) == []

    room = with_channel_factors(model)

    (pair,) = find_pairs(room)
    found = channel_statistics(room, [pair.value], [photos])[pair.value]
    even = equalize(room, {pair.value: found.maxima})
    np.testing.assert_array_equal(run(room, photos)["out"], run(model, photos)["out"])
    np.testing.assert_allclose(run(even, photos)["out"], run(model, photos)["out"], rtol=1e-3, atol=1e-4)
    after = channel_statistics(even, [pair.value], [photos])[pair.value].maxima
    assert found.maxima.max() > 1.2 * found.maxima.min()
    np.testing.assert_allclose(after, after[0], rtol=1e-4)


@pytest.mark.parametrize(
    "activation",
    [
        "between = Relu(conv)",
        "between = HardSwish(conv) other = Neg(between)",
        "between = MaxPool<kernel_shape=[1,1]>(conv)",
    ],
    ids=["equalized already", "read by others", "no activation"],
)
def test_what_needs_none_or_takes_none_is_left_alone(depthwise_chain, activation):
    model = depthwise_chain(activation)

    assert with_channel_factors(model) is model
