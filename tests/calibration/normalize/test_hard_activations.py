"""Hard-swish and hard-sigmoid from the pieces in which exporters leave them."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.normalize.passes import normalize
from edgeproof.runtime.session.session import Session

SIXTH = np.array(1 / 6, np.float32)
NUMBERS = {
    "three": np.array(3, np.float32),
    "six": np.array([6], np.float32),
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
    "sixth": SIXTH,
    "five": np.array(5, np.float32),
}
JOINED = {
    "paddle": ("a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", "HardSwish"),
    "mobilenet": ("a = Add(three, x) c = Clip(a, zero, six) d = Div(c, six) y = Mul(d, x)", "HardSwish"),
    "times a sixth": (
        "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Mul(m, sixth)",
        "HardSwish",
    ),
    "scaled before": ("a = Div(x, six) b = Add(a, half) c = Clip(b, zero, one) y = Mul(x, c)", "HardSwish"),
    "shifted by less": ("a = Sub(x, five) c = Clip(a, zero, six) y = Div(c, six)", "HardSigmoid"),
    "gate": ("a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)", "HardSigmoid"),
}
LEFT = {
    "relu6": "y = Clip(x, zero, six)",
    "other limits": "a = Add(x, three) c = Clip(a, zero, five) m = Mul(x, c) y = Div(m, six)",
    "other shift": "a = Add(x, five) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "divides six": "a = Add(x, three) c = Clip(a, zero, six) y = Div(six, c)",
    "read twice": "a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) y = Mul(c, d)",
}


def model_of(nodes, opset=19):
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n,8] x) => (float[n,8] y) {{ {nodes} }}'
    model = onnx.parser.parse_model(text)
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in NUMBERS.items() if name in read
    )
    return model


def answers(model):
    inputs = np.random.default_rng(0).uniform(-8, 8, (64, 8)).astype(np.float32)
    with Session(OnnxArtifact(model, "test").data) as session:
        return session.run(inputs)["y"]


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("name", sorted(JOINED))
def test_the_pieces_become_one_operator_that_answers_the_same(name):
    nodes, kind = JOINED[name]
    before, after = model_of(nodes), normalize(model_of(nodes))
    assert kinds(after) == [kind]
    assert np.allclose(answers(before), answers(after), atol=1e-5)


@pytest.mark.parametrize("name", sorted(LEFT))
def test_what_is_something_else_is_left_alone(name):
    before, after = model_of(LEFT[name]), normalize(model_of(LEFT[name]))
    assert not {"HardSwish", "HardSigmoid"} & set(kinds(after))
    assert np.array_equal(answers(before), answers(after))


@pytest.mark.parametrize("opset", [11, 13, 17, 21, 23])
def test_it_is_found_at_any_opset(opset):
    after = normalize(model_of(JOINED["paddle"][0], opset))
    assert kinds(after) == ["HardSwish"]
