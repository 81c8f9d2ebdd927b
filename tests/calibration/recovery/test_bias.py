"""Means of channels, and what a bias lacks."""

import numpy as np
import onnx

from edgeproof.calibration.recovery.activations import Activations
from edgeproof.calibration.recovery.bias import channel_means, missing_mean


def test_the_means_of_channels_are_those_of_each_input(network, values_of, photos):
    model = onnx.shape_inference.infer_shapes(network.model)
    names = ["conv", "excite", "logits"]  # of four axes, and of two

    found = channel_means(model, Activations(model, photos), names)

    values = values_of(network, photos)
    for name in names:
        expected = values[name].reshape(*values[name].shape[:2], -1).mean(axis=2)
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5)


def test_without_biases_there_is_nothing_to_compute(network, photos):
    assert channel_means(network.model, Activations(network.model, photos), []) == {}


def test_one_input_that_is_cut_off_does_not_move_the_bias():
    wanted = np.float32([[1, 1], [2, 1], [3, 1], [1000, 1]])

    np.testing.assert_array_equal(missing_mean(wanted, np.zeros_like(wanted)), [2, 1])
