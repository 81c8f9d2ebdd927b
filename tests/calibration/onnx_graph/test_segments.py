"""A graph cut into stretches computes, from any cut on, what the whole graph does."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.normalize.passes import normalize
from edgeproof.calibration.onnx_graph.segments import between, live_before, segments
from edgeproof.calibration.qdq.quantized_inputs import activations, find_quantized_inputs


@pytest.fixture(scope="module")
def whole(network):
    return OnnxArtifact(normalize(network.model), "normalize")


def test_every_activation_is_in_one_segment_in_the_order_of_the_graph(whole):
    names = activations(find_quantized_inputs(whole.model))

    found = [name for segment in segments(whole.model, names) for name in segment.names]

    assert found == ["image", "relu", "squeeze", "flat"]
    assert sorted(found) == sorted(names)


def test_each_segment_hands_on_what_the_next_one_needs(whole, run, photos):
    parts = list(segments(whole.model, activations(find_quantized_inputs(whole.model))))
    expected = run(whole, photos)["logits"]

    value = photos
    for part in parts:
        onnx.checker.check_model(part.model)
        found = run(OnnxArtifact(part.model, "segment"), value)
        np.testing.assert_allclose(found["logits"], expected, rtol=1e-5, atol=1e-6)
        value = found[part.following] if part.following else None

    assert len(parts) > 1
    assert value is None


def test_a_value_beside_which_another_path_runs_starts_no_segment(whole):
    starts = {part.model.graph.input[0].name for part in segments(whole.model, ["image", "squeeze", "flat"])}

    assert starts == {"image", "relu", "flat"}  # the residual path runs beside `squeeze`


def test_the_first_segment_takes_the_graphs_own_input(whole, run, photos):
    """As where pixels are normalized before the first convolution."""
    first, *_ = segments(whole.model, ["relu", "flat"])

    assert first.model.graph.input[0].name == "image"
    assert first.names == ["relu"]
    found = run(OnnxArtifact(first.model, "segment"), photos)
    np.testing.assert_allclose(found["logits"], run(whole, photos)["logits"], rtol=1e-5, atol=1e-6)


def test_without_activations_there_is_nothing_to_look_at(whole):
    assert list(segments(whole.model, [])) == []


def test_only_the_nodes_on_the_way_and_the_values_that_are_read_are_taken(whole):
    part = between(whole.model, ["image", "relu", "squeeze"], ["gate"])

    assert [node.op_type for node in part.graph.node] == ["Conv", "HardSigmoid"]
    assert [info.name for info in part.graph.input] == ["squeeze"]
    assert {tensor.name for tensor in part.graph.initializer} == {"excite_w", "excite_b"}
    onnx.checker.check_model(part)


def test_what_is_alive_before_a_node_is_all_that_the_rest_needs(whole, run, photos):
    assert set(live_before(whole.model, "excite")) == {"relu", "swish", "squeeze"}
    assert live_before(whole.model, "conv") == ["image"]
