"""What is held moves through the graph, gives the same values from anywhere, and stays small."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.onnx_graph.segments import live_before
from edgeproof.calibration.recovery import activations as module
from edgeproof.calibration.recovery.activations import Activations


@pytest.fixture
def model(network):
    return onnx.shape_inference.infer_shapes(network.model)


@pytest.fixture
def logits(run, network, photos):
    return run(network, photos)["logits"]


def joined(activations, model, name):
    return np.concatenate(list(activations.values(model, name)))


def test_values_are_the_same_from_every_place_of_the_graph(model, photos, logits):
    activations = Activations(model, photos)
    for layer in ("depthwise", "excite", "logits"):
        activations.advance(model, live_before(model, layer))

        np.testing.assert_allclose(joined(activations, model, "logits"), logits, rtol=1e-4, atol=1e-5)
    assert activations.names == ["flat"]


def test_a_residual_is_held_beside_what_the_layer_reads(model, photos):
    activations = Activations(model, photos)

    activations.advance(model, live_before(model, "excite"))

    assert set(activations.names) == {"relu", "swish", "squeeze"}


def test_what_takes_too_much_memory_is_computed_again(model, photos, logits, monkeypatch):
    needed = photos.nbytes // 3 * 8  # what the first convolution gives has 8 channels in place of 3
    monkeypatch.setattr(module, "MAX_HELD_BYTES", needed - 1)
    activations = Activations(model, photos)

    activations.advance(model, ["relu"])
    stayed = activations.names
    monkeypatch.setattr(module, "MAX_HELD_BYTES", needed)
    activations.advance(model, ["relu"])

    assert (stayed, activations.names) == (["image"], ["relu"])
    np.testing.assert_allclose(joined(activations, model, "logits"), logits, rtol=1e-4, atol=1e-5)


def test_a_fixed_batch_is_filled_with_the_first_inputs(build):
    model = build("g (float[3,2] x) => (float[3,2] y) { y = Neg(x) }").model
    inputs = np.arange(10, dtype=np.float32).reshape(5, 2)

    activations = Activations(model, inputs)

    assert len(activations) == 2
    np.testing.assert_array_equal(joined(activations, model, "y"), -np.concatenate([inputs, inputs[:1]]))
