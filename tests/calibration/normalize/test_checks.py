import numpy as np
import pytest

from edgeproof.calibration.normalize.checks import require_per_channel, require_quantizable
from edgeproof.runtime.errors import ModelError

ONE = {"s": np.float32(0.1), "z": np.int8(0)}


@pytest.mark.parametrize(
    ("body", "weights", "found"),
    [
        ("q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", ONE, "QuantizeLinear 'node_q'"),
        (
            "y = DequantizeLinear(w, s, z)",
            {"w": np.zeros((1, 4), np.int8), **ONE},
            "DequantizeLinear 'node_y'",
        ),
        ("q, a, b = DynamicQuantizeLinear(x) y = Cast<to=1>(q)", {}, "DynamicQuantizeLinear 'node_q'"),
        (
            "i = Cast<to=2>(x) m = MatMulInteger(i, w) y = Cast<to=1>(m)",
            {"w": np.eye(4, dtype=np.uint8)},
            "MatMulInteger",
        ),
        ("y = custom.QLinearAdd(x, x)", {}, "QLinearAdd 'node_y'"),
    ],
)
def test_a_quantized_model_is_refused_with_the_node_that_shows_it(vector, body, weights, found):
    with pytest.raises(ModelError, match=f"(?s)quantized already: it holds {found}.*wanted: +a float model"):
        require_quantizable(vector(body, **weights).model)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_with_their_reader(vector, value):
    weight = np.eye(4, dtype=np.float32)
    weight[1, 2] = value
    with pytest.raises(
        ModelError, match=r"(?s)'w' holds NaN or Inf.*1 of 16 values, read by MatMul 'node_y'"
    ):
        require_quantizable(vector("y = MatMul(x, w)", w=weight).model)


def test_several_inputs_are_refused_by_name(build):
    artifact = build(
        "g (float[batch,4] left, float[batch,4] right) => (float[batch,4] y) { y = Add(left, right) }"
    )
    with pytest.raises(ModelError, match=r"(?s)exactly one input.*got: +left, right"):
        require_quantizable(artifact.model)


def test_a_model_without_an_input_is_refused(build):
    artifact = build("g () => (float[4] y) { y = Relu(w) }", w=np.zeros(4, np.float32))
    with pytest.raises(ModelError, match=r"(?s)exactly one input.*got: +none"):
        require_quantizable(artifact.model)


def test_weights_listed_as_inputs_are_not_inputs(build):
    artifact = build(
        "g (float[batch,4] x, float[4,4] w) => (float[batch,4] y) { y = MatMul(x, w) }",
        w=np.eye(4, dtype=np.float32),
    )
    require_quantizable(artifact.model)


def test_a_float_model_is_admitted(network):
    require_quantizable(network.model)


def test_the_opset_is_named_where_it_is_too_old(build):
    text = "g (float[batch,4] x) => (float[batch,4] y) { y = Relu(x) }"
    require_per_channel(build(text, opset=13).model)
    with pytest.raises(ModelError, match=r"(?s)wanted: +opset 13 or later.*got: +opset 12"):
        require_per_channel(build(text, opset=12).model)
