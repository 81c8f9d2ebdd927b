import numpy as np
import pytest

from edgeproof.calibration.qdq.quantized_inputs import QuantizedInput, activations, find_quantized_inputs
from edgeproof.runtime.errors import ModelError


@pytest.fixture(scope="module")
def eye():
    return np.eye(4, dtype=np.float32)


def test_every_weighted_node_takes_both_inputs_quantized_in_the_order_of_the_graph(network):
    assert find_quantized_inputs(network.model) == [
        QuantizedInput("conv", 0, "image"),
        QuantizedInput("conv", 1, "conv_w", 0),
        QuantizedInput("depthwise", 0, "relu"),
        QuantizedInput("depthwise", 1, "depthwise_w", 0),
        QuantizedInput("excite", 0, "squeeze"),
        QuantizedInput("excite", 1, "excite_w", 0),
        QuantizedInput("logits", 0, "flat"),
        QuantizedInput("logits", 1, "head_w", 0),
    ]


def test_an_activation_that_several_nodes_read_is_named_once(vector, eye):
    artifact = vector("a = MatMul(x, w) b = MatMul(x, v) s = Add(a, b) y = MatMul(s, w)", w=eye, v=eye)
    assert activations(find_quantized_inputs(artifact.model)) == ["x", "s"]


def test_what_stays_float_has_no_sites(network):
    named = {site.node for site in find_quantized_inputs(network.model, keep_float=["depthwise", "logits"])}
    assert named == {"conv", "excite"}


def test_an_unknown_name_is_refused(network):
    with pytest.raises(ModelError, match=r"(?s)first outputs of nodes.*got: +head_w, nothing"):
        find_quantized_inputs(network.model, keep_float=["nothing", "conv", "head_w"])


@pytest.mark.parametrize(
    ("operation", "axis"),
    [
        ("Gemm<transB=1>(x, w)", 0),
        ("Gemm(x, w)", 1),
        ("MatMul(x, w)", 1),
    ],
)
def test_the_axis_is_that_of_the_output_channels(vector, eye, operation, axis):
    sites = find_quantized_inputs(vector(f"y = {operation}", w=eye).model)
    assert sites == [QuantizedInput("y", 0, "x"), QuantizedInput("y", 1, "w", axis)]


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(w, v)",
        "m = MatMul(x, batched) y = ReduceSum<keepdims=0>(m, axis)",
        "t = Gemm<transA=1>(x, w) y = Transpose(t)",
        "d = Cast<to=11>(x) m = MatMul(d, doubles) y = Cast<to=1>(m)",
        "t = Transpose(x) y = MatMul(x, t)",
    ],
    ids=["constants", "stack of matrices", "transposed input", "double", "no constant"],
)
def test_what_has_no_float_matrix_as_weights_stays_float(vector, eye, body):
    weights = {
        "w": eye,
        "v": eye,
        "batched": np.stack([eye, eye]),
        "axis": np.array([0]),
        "doubles": np.eye(4),
    }
    artifact = vector(body, **{name: values for name, values in weights.items() if name in body})
    assert find_quantized_inputs(artifact.model) == []


SHORTCUTS = {
    "identity": ("a = Conv(x, w) b = Conv(a, w) y = Add(a, b)", [QuantizedInput("y", 0, "a")]),
    "either order": ("a = Conv(x, w) b = Conv(a, w) y = Add(b, a)", [QuantizedInput("y", 1, "a")]),
    "projection": ("a = Conv(x, w) b = Conv(x, w) y = Add(a, b)", [QuantizedInput("y", 0, "a")]),
    "the convolution is read elsewhere": ("a = Conv(x, w) r = Relu(a) s = Add(a, r) y = Relu(s)", []),
    "no convolution": ("a = Conv(x, w) r = Relu(a) t = Relu(r) y = Add(t, r)", []),
    "constant": ("a = Conv(x, w) y = Add(a, one)", []),
    "kept float": ("a = Relu(x) kept = Conv(a, w) y = Add(a, kept)", []),
    "one of two kept float": ("a = Conv(x, w) kept = Conv(x, w) y = Add(a, kept)", []),
}


def test_a_convolution_whose_result_is_an_answer_takes_no_addition_in(build, eye):
    artifact = build(
        """g (float[batch,4,2,2] x) => (float[batch,4,2,2] y, float[batch,4,2,2] b) {
            a = Relu(x) b = Conv(a, w) y = Add(a, b)
        }""",
        w=eye.reshape(4, 4, 1, 1),
    )
    assert [site.node for site in find_quantized_inputs(artifact.model)] == ["b", "b"]


@pytest.mark.parametrize(("body", "wanted"), SHORTCUTS.values(), ids=SHORTCUTS)
def test_shortcuts_of_additions_that_a_convolution_can_take_in(build, eye, body, wanted):
    weights = {"w": eye.reshape(4, 4, 1, 1), **({"one": np.float32(1)} if "one" in body else {})}
    artifact = build(f"g (float[batch,4,2,2] x) => (float[batch,4,2,2] y) {{ {body} }}", **weights)
    kept = ["kept"] if "kept" in body else []
    additions = {node.output[0] for node in artifact.model.graph.node if node.op_type == "Add"}
    assert [site for site in find_quantized_inputs(artifact.model, kept) if site.node in additions] == wanted


@pytest.mark.parametrize("body", [body for body, _ in SHORTCUTS.values() if "one" not in body])
def test_what_stays_float_makes_no_other_value_round(build, eye, body):
    """A range is found for what is rounded at first; more layers stay float afterwards."""
    artifact = build(
        f"g (float[batch,4,2,2] x) => (float[batch,4,2,2] y) {{ {body} }}", w=eye.reshape(4, 4, 1, 1)
    )
    all_ = activations(find_quantized_inputs(artifact.model))
    for node in artifact.model.graph.node:
        assert set(activations(find_quantized_inputs(artifact.model, node.output[:1]))) <= set(all_)
