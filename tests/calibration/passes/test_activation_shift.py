"""Values between 0 and a cap move around zero, and no answer changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edgeproof.calibration.passes.activation_shift import (
    centred,
    find_capped,
    middle,
    shift_activations,
    with_offsets,
    worth_moving,
)
from edgeproof.calibration.ranges.histogram import EMPTY
from edgeproof.calibration.ranges.statistics import Range, collect_statistics

CHAIN = """
chain (float[batch,3,16,16] image) => (float[batch,4,16,16] out) {{
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    capped = Clip(conv, low, high)
    {reader}
}}"""
POINTWISE = "out = Conv(capped, point_w, point_b)"
DEPTHWISE = "out = Conv<group=8>(capped, depthwise_w, depthwise_b)"
DEPTHWISE_WEIGHTS = {
    "depthwise_w": np.ones((8, 1, 1, 1), np.float32),
    "depthwise_b": np.zeros(8, np.float32),
}
LIMITS = {"low": np.float32(0), "high": np.float32(6)}


@pytest.fixture(scope="module")
def chain(build, network_weights, rng):
    """A convolution, ReLU6, and what reads it: the model."""
    point = rng(5).standard_normal((4, 8, 1, 1)).astype(np.float32)

    def chain(reader=POINTWISE, **weights):
        chosen = {name: network_weights[name] for name in ("conv_w", "conv_b")}
        given = {"point_w": point, "point_b": np.arange(4, dtype=np.float32), **LIMITS}
        used = {name: value for name, value in given.items() if name in reader or name in LIMITS}
        return build(CHAIN.format(reader=reader), **{**chosen, **used, **weights}).model

    return chain


def test_the_value_lies_around_zero(chain, values_of, photos):
    moved = shift_activations(chain(), {"capped": 3.0})

    values = values_of(moved, photos)["capped"]
    assert values.min() == -3
    assert values.max() <= 3


@given(offset=st.floats(0, 6, width=32))
@settings(max_examples=20)
def test_no_answer_changes(chain, run, photos, offset):
    model = chain()

    moved = shift_activations(model, {"capped": offset})

    np.testing.assert_allclose(run(moved, photos)["out"], run(model, photos)["out"], rtol=1e-4, atol=1e-4)


def test_what_comes_back_is_that_of_the_weights_as_they_are(chain):
    model = chain()

    moved = shift_activations(model, {"capped": 2.0})

    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in shown.graph.initializer}
        for shown in (model, moved)
    )
    expected = before["point_b"] + 2 * before["point_w"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(after["point_b"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("reader", "weights"),
    [
        ("out = Conv<pads=[0,0,0,1]>(capped, point_w, point_b)", {}),
        ('out = Conv<auto_pad="SAME_UPPER">(capped, point_w, point_b)', {}),
        ("out = Conv(capped, point_w)", {}),
        (POINTWISE + " other = Relu(capped)", {}),
        (POINTWISE, {"low": np.float32(-1)}),
        (DEPTHWISE, DEPTHWISE_WEIGHTS),
    ],
    ids=["padded", "padded by name", "without bias", "read by others", "not from zero", "depthwise"],
)
def test_what_cannot_be_moved_is_left_alone(chain, reader, weights):
    model = chain(reader, **weights)

    assert find_capped(model) == []
    assert shift_activations(model, {"capped": 3.0}) is model


def test_a_relu_gets_the_other_limit(chain, photos, run, values_of):
    model = chain().__class__.FromString(chain().SerializeToString())
    relu = next(node for node in model.graph.node if node.output[0] == "capped")
    relu.op_type = "Relu"
    del relu.input[1:]

    moved = shift_activations(model, {"capped": 2.0})

    assert values_of(moved, photos)["capped"].min() == -2
    np.testing.assert_allclose(run(moved, photos)["out"], run(model, photos)["out"], rtol=1e-4, atol=1e-4)


# --- behind activations that take no offset from the convolution before --------------------------------

SWISH = """
swish (float[batch,3,16,16] image) => (float[batch,4,16,16] out) {{
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    swish = HardSwish(conv)
    out = Conv{attributes}(swish, point_w, point_b)
}}"""


@pytest.fixture
def swish(build, network_weights, rng):
    """A network with hard-swish, and the histogram of its value."""

    def swish(photos, attributes=""):
        weights = {name: network_weights[name] for name in ("conv_w", "conv_b")}
        point = rng(5).standard_normal((4, 8, 1, 1)).astype(np.float32)
        text = SWISH.format(attributes=attributes)
        model = build(text, **weights, point_w=point, point_b=np.zeros(4, np.float32)).model
        return model, collect_statistics(model, [photos], ["swish"]).histograms

    return swish


def test_a_subtraction_moves_it(swish, photos, run, values_of):
    model, histograms = swish(photos)
    room = with_offsets(model, histograms)
    found = worth_moving(room, {"swish.moved": histograms["swish"]})

    offset = middle(found["swish.moved"])
    moved = shift_activations(room, {"swish.moved": offset})

    values = values_of(moved, photos)
    np.testing.assert_allclose(values["swish.moved"], values["swish"] - np.float32(offset), atol=1e-6)
    np.testing.assert_allclose(run(moved, photos)["out"], run(model, photos)["out"], rtol=1e-3, atol=1e-4)
    half = centred(found["swish.moved"])
    assert half.high == -half.low < 0.75 * values["swish"].max()


@given(low=st.floats(-10, 0), high=st.floats(0.1, 50))
def test_zero_is_no_rounding_error(low, high):
    offset, step = middle(Range(low, high)), (high - low) / 254

    assert abs(offset / step - round(offset / step)) < 1e-6
    assert abs(offset - (low + high) / 2) <= step / 2 * 1.0001


def test_a_padded_reader_allows_none(swish, photos):
    model, histograms = swish(photos, "<pads=[1,1,1,1]>")

    assert with_offsets(model, histograms) is model


def test_what_lies_around_zero_already_is_left_alone(swish, photos):
    model, _ = swish(photos)
    even = EMPTY.including(np.linspace(-1, 1, 999, dtype=np.float32), -1.0, 1.0)

    assert with_offsets(model, {"swish": even}) is model
