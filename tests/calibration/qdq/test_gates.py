"""Squeeze-and-excitation gates are known by their form, however they are written; nothing else is one."""

import re

import numpy as np
import pytest

from edgeproof.calibration.qdq.gates import find_gates

SIDES = {"sides": np.array([2, 3]), "back": np.array([-1, -2]), "channels": np.array([1])}
WEIGHTS = {
    "a": np.ones((2, 4, 1, 1), np.float32),
    "b": np.ones((4, 2, 1, 1), np.float32),
    "m": np.ones((4, 2), np.float32),
    "n": np.ones((2, 4), np.float32),
    "three": np.float32(3),
    "six": np.float32(6),
    "zero": np.float32(0),
    "as_map": np.array([0, 4, 1, 1]),
    "as_row": np.array([0, 4]),
    "ends": np.array([2, 3]),
}
MOBILENET = (
    "p = ReduceMean(r, sides) c = Conv(p, a) e = Relu(c) d = Conv(e, b) g = HardSigmoid(d) y = Mul(r, g)"
)
GATES = {
    "mobilenet": MOBILENET,
    "factors first": MOBILENET.replace("Mul(r, g)", "Mul(g, r)"),
    "sides from the back": MOBILENET.replace("sides", "back"),
    "axes as an attribute": MOBILENET.replace("ReduceMean(r, sides)", "ReduceMean<axes=[2, 3]>(r)"),
    "senet": """p = GlobalAveragePool(r) f = Flatten(p) c = Gemm(f, m) e = Relu(c) d = Gemm(e, n)
        g = Sigmoid(d) u = Unsqueeze(g, ends) y = Mul(r, u)""",
    "reshaped": """p = GlobalAveragePool(r) f = Reshape(p, as_row) c = MatMul(f, m) e = Relu(c)
        d = MatMul(e, n) g = Sigmoid(d) u = Reshape(g, as_map) y = Mul(r, u)""",
    "shape looked up": """p = GlobalAveragePool(r) c = Conv(p, a) e = Relu(c) d = Conv(e, b) g = Sigmoid(d)
        s = Shape(p) u = Reshape(g, s) y = Mul(r, u)""",
    "hard-sigmoid in parts": """p = ReduceMean(r, sides) c = Conv(p, a) e = Relu(c) d = Conv(e, b)
        h = Add(d, three) k = Clip(h, zero, six) g = Div(k, six) y = Mul(r, g)""",
    "constants that are nodes": """p = ReduceMean(r, sides) c = Conv(p, a) e = Relu(c) d = Conv(e, b)
        k = Constant<value_float=3.0>() h = Add(d, k) g = Sigmoid(h) y = Mul(r, g)""",
    "swish inside": """p = ReduceMean(r, sides) c = Conv(p, a) s = Sigmoid(c) e = Mul(c, s) d = Conv(e, b)
        g = Sigmoid(d) y = Mul(r, g)""",
    "one layer": "p = GlobalAveragePool(r) q = Conv(p, a) c = Conv(q, b) g = Sigmoid(c) y = Mul(r, g)",
}
DECOYS = {
    "swish": "s = Sigmoid(r) y = Mul(r, s)",
    "hard-swish in parts": "h = Add(r, three) k = Clip(h, zero, six) g = Div(k, six) y = Mul(r, g)",
    "constant": "y = Mul(r, three)",
    "another value is pooled": MOBILENET.replace("ReduceMean(r", "ReduceMean(x"),
    "another value is multiplied": MOBILENET.replace("Mul(r, g)", "Mul(x, g)"),
    "no layer": "p = GlobalAveragePool(r) g = Sigmoid(p) y = Mul(r, g)",
    "over axes that are computed": "s = Shape(x) " + MOBILENET.replace("(r, sides)", "(r, s)"),
    "over all axes": MOBILENET.replace("(r, sides)", "(r)"),
    "over channels": """p = ReduceMean(r, channels) g = Sigmoid(p) y = Mul(r, g)""",
    "not pooled": "c = Conv(r, a) e = Relu(c) d = Conv(e, b) g = Sigmoid(d) y = Mul(r, g)",
    "two pools": """p = GlobalAveragePool(r) q = GlobalAveragePool(x) k = Add(p, q) c = Conv(k, a) e = Relu(c)
        d = Conv(e, b) g = Sigmoid(d) y = Mul(r, g)""",
    "maximum": MOBILENET.replace("ReduceMean(r, sides)", "GlobalMaxPool(r)"),
    "added": MOBILENET.replace("Mul(r, g)", "Add(r, g)"),
}


@pytest.fixture
def gates(build):
    def gates(body):
        text = f"g (float[batch,4,8,8] x) => (float[batch,4,8,8] y) {{ r = Relu(x) {body} }}"
        used = {name: values for name, values in {**SIDES, **WEIGHTS}.items() if name in body}
        return find_gates(build(text, **used).model)

    return gates


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_found(gates, name):
    (gate,) = gates(GATES[name])
    assert gate.value == gate.mul.input[gate.position] == "r"
    assert gate.pool.output[0] == "p"
    assert gate.mul.output[0] == "y"
    inside = {node.output[0] for node in gate.inner}
    assert {"c", "d", "g"} & inside
    assert not {"r", "p", "y", "s"} & (inside - ({"s"} if name == "swish inside" else set()))


@pytest.mark.parametrize("name", DECOYS)
def test_what_only_looks_like_one_is_none(gates, name):
    assert gates(DECOYS[name]) == []


def test_every_gate_of_a_network_is_found_in_order(gates):
    first = MOBILENET.replace("y =", "z =")
    second = " ".join(f"{part}2" if part in "pcedg" else part for part in MOBILENET.split(" "))
    for name in "pcedg":
        second = second.replace(f"({name},", f"({name}2,").replace(f"({name})", f"({name}2)")
    second = second.replace("(r", "(z").replace(", g)", ", g2)")
    assert [gate.value for gate in gates(f"{first} {second}")] == ["r", "z"]


UNARY = (
    *(
        "Relu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Gelu",
        "Clip",
        "Tanh",
        "Softplus",
        "Mish",
        "HardSwish",
        "HardSigmoid",
    ),
    *("Sigmoid", "Erf", "Identity", "Dropout", "Cast<to=1>", "Transpose", "Swish"),
)
BINARY = ("PRelu", "Add", "Sub", "Mul", "Div", "Min", "Max", "Expand")


@pytest.mark.parametrize(
    "operation", [*(f"{name}(c)" for name in UNARY), *(f"{name}(c, three)" for name in BINARY)]
)
def test_any_activation_may_stand_between_the_layers(gates, operation):
    (gate,) = gates(MOBILENET.replace("Relu(c)", operation))
    kind = re.match(r"\w+", operation)[0]
    assert {node.op_type for node in gate.inner} == {"Conv", kind, "HardSigmoid"}
    assert (gate.value, gate.pool.output[0], gate.mul.output[0], gate.position) == ("r", "p", "y", 0)


@pytest.mark.parametrize("operation", ["LSTM", "Softmax", "MaxPool"])
def test_no_other_operator(gates, operation):
    assert gates(MOBILENET.replace("Relu(c)", f"{operation}(c)")) == []
