import dataclasses
import hashlib

import onnx
import pytest

from edgeproof.calibration.artifact import OnnxArtifact


def test_data_is_the_serialized_model(network):
    assert onnx.ModelProto.FromString(network.data) == network.model


def test_sha256_is_that_of_the_data(network):
    assert network.sha256 == hashlib.sha256(network.data).hexdigest()


def test_equal_models_have_equal_hashes_and_another_weight_another_hash(
    change_network, network, network_weights
):
    assert change_network().sha256 == network.sha256
    assert change_network(head_b=network_weights["head_b"] + 1).sha256 != network.sha256


def test_nodes_counts_the_graph(network):
    assert network.nodes == 12


def test_the_first_artifact_is_float32_and_has_no_parent(network):
    first = OnnxArtifact(network.model, "export")
    assert (first.precision, first.parent) == ("fp32", None)


def test_derive_records_stage_precision_and_parent(network, change_network, network_weights):
    changed = change_network(head_b=network_weights["head_b"] + 1).model
    child = network.derive(changed, "int8", "int8")
    assert (child.stage, child.precision, child.parent) == ("int8", "int8", network.sha256)
    assert child.model is changed


def test_lineage_reaches_back_over_several_stages(network, change_network, network_weights):
    simplified = network.derive(
        change_network(head_b=network_weights["head_b"] * 2).model, "simplify", "fp32"
    )
    half = simplified.derive(change_network(head_b=network_weights["head_b"] * 3).model, "fp16", "fp16")
    assert half.parent == simplified.sha256
    assert simplified.parent == network.sha256
    assert len({network.sha256, simplified.sha256, half.sha256}) == 3


@pytest.mark.parametrize("field", ["model", "stage", "precision", "parent"])
def test_an_artifact_cannot_be_reassigned(network, field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(network, field, None)
