"""Reconstruction brings the INT8 answers nearer to the float ones, the same way each time."""

import numpy as np
import pytest

from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.calibration.recovery.reconstruct import reconstruct
from edgeproof.calibration.recovery.sensitivity import rank_layers
from edgeproof.calibration.recovery.simulate import QuantizedGraph


@pytest.fixture
def recovered(network, student, photos):
    """The simulation, fitted to the pictures."""
    reconstruct(student, photos)
    return student


def test_it_lowers_the_error(network, simulate, recovered, answers, relative_error):
    right = answers(network.model)

    before = relative_error(right, answers(simulate().model))

    assert relative_error(right, answers(recovered.model)) < 0.9 * before


def test_it_is_the_same_each_time(network, simulate, recovered, photos):
    again = simulate()
    reconstruct(again, photos)

    assert all(np.array_equal(recovered.weights[name], again.weights[name]) for name in again.weights)
    assert all(np.array_equal(recovered.biases[name], again.biases[name]) for name in again.biases)


def test_half_the_inputs_lie_on_either_side_of_the_float_answers(network, simulate, recovered, answers):
    right = answers(network.model)

    before = middle(right - answers(simulate().model))

    assert np.abs(middle(right - answers(recovered.model))).max() < 0.02 * np.abs(before).max()


def middle(errors):
    """Of each channel, the lower of the two in the middle."""
    return np.sort(errors, axis=0)[(len(errors) - 1) // 2]


def test_a_layer_with_very_many_inputs_keeps_the_nearest_integers(vector, build, rng, run):
    text = "g (float[batch,5000] x) => (float[batch,4] y) { y = Gemm(x, w, b) }"
    weight = rng(1).standard_normal((5000, 4)).astype(np.float32)
    wide = build(text, w=weight, b=np.zeros(4, np.float32))
    x = rng(2).standard_normal((16, 5000)).astype(np.float32)
    sites = find_quantized_inputs(wide.model)
    student = QuantizedGraph(wide.model, sites, collect_ranges(wide.model, [x]))
    before = student.weights["w"].round()

    reconstruct(student, x)

    assert np.array_equal(student.weights["w"].round(), before)
    assert student.biases["b"].any()


def test_layers_are_ranked_by_the_harm_that_they_do_alone(network, student, photos):
    ranked = rank_layers(student, photos)

    assert {layer.node for layer in ranked} == {"conv", "depthwise", "excite", "logits"}
    errors = [layer.error for layer in ranked]
    assert errors == sorted(errors, reverse=True)
    assert all(error > 0 for error in errors)
    assert any(layer.layer == "Conv 'node_depthwise'" for layer in ranked)
