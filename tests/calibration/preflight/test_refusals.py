"""From the compiler's words to a node, a reason and a remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.preflight.refusals import advise, explain, find_node, plain_words

DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA "
    "runtime version))"
)
INT32_BIAS = (
    "Invalid Node - node_b\nITensor::getDimensions: Error Code 4: API Usage Error (node_b: input has type "
    f"Int32 but must have type Int8. In checkType at /_src/optimizer/common/nodeBase.cpp:456)\n{DRIVER}"
)


def said(why, name="", operator="", **more):
    return {"why": why, "name": name, "operator": operator, **more}


@pytest.fixture
def biased(vector):
    """x + dequantized bias, then a named Relu that PyTorch's exporter has seen."""
    artifact = vector("b = DequantizeLinear(q, s)\n a = Add(x, b)\n y = Relu(a)")
    entry = artifact.model.graph.node[2].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'stem', 'stem.act', 'relu']"
    return artifact.model


def test_the_compilers_words_lose_their_addresses_and_the_drivers_complaint():
    assert plain_words(INT32_BIAS) == "node_b: input has type Int32 but must have type Int8."


def test_a_condition_of_the_source_is_left_out():
    words = "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported."
    assert plain_words(words) == "Non-zero zero point is not supported."


@given(st.lists(st.sampled_from(["one reason", "another", DRIVER, "Invalid Node - n", ""]), max_size=8))
def test_noise_never_changes_the_words(lines):
    quiet = [line for line in lines if line in ("one reason", "another")]
    assert plain_words("\n".join(lines)) == plain_words("\n".join(quiet))


def test_a_refusal_names_the_node_its_module_the_reason_and_the_remedy(biased):
    refusal = explain(said(INT32_BIAS, "node_b", "DequantizeLinear", index=0, code="INVALID_NODE"), biased)
    assert refusal.node == ("DequantizeLinear 'node_b', used by Relu 'node_y', PyTorch module 'stem.act'")
    assert refusal.why == "input has type Int32 but must have type Int8."
    assert "QuantizeBias" in refusal.advice
    assert str(refusal) == f"{refusal.node}: {refusal.why}"


def test_a_node_that_pytorch_knows_is_named_with_its_own_module(biased):
    refusal = explain(said("no", "node_y", "Relu"), biased)
    assert refusal.node == "Relu 'node_y', PyTorch module 'stem.act'"


def test_a_build_error_is_traced_to_the_longest_name_that_it_holds(biased):
    refusal = explain(said("IShuffleLayer node_a_12: reshaping failed for node_axis"), biased, "75")
    assert refusal.node.startswith("Add 'node_a'")
    assert str(refusal).endswith("(SM75)")


def test_an_error_without_a_node_names_none(biased):
    assert explain(said("out of memory"), biased).node == ""


def test_a_silent_refusal_is_still_one(biased):
    assert explain(said(""), biased).why == "the compiler gave no reason"


@given(st.integers(-2, 5), st.sampled_from(["node_b", "node_a", "node_y", "other"]))
def test_a_place_counts_only_where_name_and_operator_agree(index, name):
    """Inside subgraphs and functions the compiler counts anew."""
    nodes = [_Node("node_b", "DequantizeLinear"), _Node("node_a", "Add"), _Node("node_y", "Relu")]
    found = find_node(nodes, {"index": index, "name": name, "operator": "Add"})
    assert found is (nodes[1] if name == "node_a" else None)


class _Node:
    def __init__(self, name, op_type):
        self.name, self.op_type = name, op_type


def test_unnamed_nodes_are_found_by_their_place():
    nodes = [_Node("", "Add"), _Node("", "Add")]
    assert find_node(nodes, {"index": 1, "name": "", "operator": "Add"}) is nodes[1]


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("input has type Int32 but must have type FP8", "QuantizeBias"),
        ("Non-zero zero point is not supported.", "zero point 0"),
        ("Defaulting to INT8 instead.", "zero point 0"),
        ("Scale coefficients must all be positive", "dead channel"),
        ("TensorRT does not support the operator QLinearConv", "Q/DQ pairs"),
        ("TensorRT does not support the operator Det", "support matrix"),
        ("ElementWiseOperation SUM must have same input types.", "Cast"),
        ("kOPT values for profile 0 violate shape constraints", "--batch N,N,N"),
        ("no optimization profile has been defined", "dynamic in the batch only"),
        ("Node input was not registered.", "onnx.checker"),
        ("something never seen before", "support matrix"),
    ],
)
def test_every_known_reason_has_its_remedy(why, remedy):
    assert remedy in advise(why)
