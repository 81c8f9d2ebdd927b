"""Equalization evens out the channels in front of depthwise convolutions and changes no answer."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.passes.cross_layer_equalization import (
    channel_statistics,
    equalize,
    find_pairs,
)

RELU = "between = Relu(conv)"
RELU6 = "between = Clip(conv, low, high)"
CAP = 6.0


@pytest.fixture
def relu6(depthwise_chain):
    return depthwise_chain(RELU6, low=np.float32(0), high=np.float32(CAP))


def maxima(model, photos):
    return channel_statistics(model, ["between"], [photos])["between"].maxima


def evened(model, photos):
    limits = maxima(model, photos)
    return equalize(model, {"between": limits}), limits


def test_relu_scales_along(depthwise_chain, photos, run):
    model = depthwise_chain(RELU)

    even, _ = evened(model, photos)

    np.testing.assert_allclose(run(even, photos)["out"], run(model, photos)["out"], rtol=1e-3, atol=1e-4)


def test_all_channels_reach_equally_far(depthwise_chain, photos):
    even, before = evened(depthwise_chain(RELU), photos)

    after = maxima(even, photos)

    assert before.max() > 1.2 * before.min() > 0
    np.testing.assert_allclose(after, np.sqrt(before.min() * before.max()), rtol=1e-4)


def test_with_a_cap_all_channels_reach_it(relu6, photos, run):
    even, before = evened(relu6, photos)

    after = maxima(even, photos)

    assert before.min() < CAP
    np.testing.assert_allclose(after, CAP, rtol=1e-4)
    np.testing.assert_allclose(run(even, photos)["out"], run(relu6, photos)["out"], rtol=1e-3, atol=1e-4)


def test_with_a_cap_what_lies_beyond_a_limit_is_cut_off_there(relu6, photos):
    limit = np.full(8, 0.5)

    even = equalize(relu6, {"between": limit})

    factors = CAP / limit
    after = maxima(even, photos)
    assert (after / factors <= 0.5 + 1e-6).all()


@pytest.mark.parametrize("above", [np.inf, np.finfo(np.float32).max])
def test_a_cap_that_caps_nothing_is_none(depthwise_chain, above):
    pairs = find_pairs(depthwise_chain(RELU6, low=np.float32(0), high=np.float32(above)))

    assert [pair.cap for pair in pairs] == [None]


def test_a_dead_channel_is_not_blown_up_without_end(depthwise_chain, photos, network_weights):
    dead = network_weights["conv_w"].copy()
    dead[2] = 0
    bias = network_weights["conv_b"].copy()
    bias[2] = -1

    even, before = evened(depthwise_chain(RELU, conv_w=dead, conv_b=bias), photos)

    assert before[2] == 0
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in even.graph.initializer}
    assert all(np.isfinite(values).all() for values in weights.values())


@pytest.mark.parametrize(
    "activation",
    [
        "between = HardSwish(conv)",
        "between = Sigmoid(conv)",
        "between = Clip(conv, below, above)",
        "between = Clip(conv, zero, below)",
        "computed = Neg(below) between = Clip(conv, zero, computed)",
        "relu = Relu(conv) between = Add(relu, conv)",
    ],
)
def test_what_does_not_scale_along_is_left_alone(depthwise_chain, activation):
    limits = {"below": np.float32(-1), "above": np.float32(6), "zero": np.float32(0)}
    model = depthwise_chain(
        activation, **{name: limit for name, limit in limits.items() if name in activation}
    )

    assert find_pairs(model) == []
    assert equalize(model, {"between": np.ones(8)}) is model


def test_a_value_that_others_read_too_is_left_alone(network):
    assert find_pairs(network.model) == []
