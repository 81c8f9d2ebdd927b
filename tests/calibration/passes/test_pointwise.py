"""Constants behind activations: the readers meet the result, and what does nothing goes away again."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.passes.pointwise import applied, apply_constants, without_neutral_constants

CHAIN = """
chain (float[batch,3,16,16] image) => (float[batch,8,16,16] out, float[batch,8,16,16] swish) {
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    swish = HardSwish(conv)
    out = Neg(swish)
}"""


@pytest.fixture
def chain(build, network_weights):
    return build(CHAIN, conv_w=network_weights["conv_w"], conv_b=network_weights["conv_b"]).model


def test_readers_meet_the_result_and_the_output_stays(chain, photos, run):
    factors = np.arange(1, 9, dtype=np.float32).reshape(8, 1, 1)

    scaled = apply_constants(chain, "Mul", {"swish": factors})

    onnx.checker.check_model(scaled, full_check=True)
    before, after = run(chain, photos), run(scaled, photos)
    np.testing.assert_array_equal(after["swish"], before["swish"])
    np.testing.assert_allclose(after["out"], before["out"] * factors, rtol=1e-6)


@pytest.mark.parametrize(("operator", "neutral"), [("Mul", 1), ("Sub", 0)])
def test_what_changes_nothing_is_taken_out(chain, operator, neutral):
    idle = apply_constants(chain, operator, {"swish": np.full((8, 1, 1), neutral, np.float32)})

    assert [node.op_type for node in idle.graph.node if applied(node)] == [operator]
    assert without_neutral_constants(idle) == chain


def test_of_two_in_a_row_each_may_stay(chain, photos, run):
    both = apply_constants(chain, "Mul", {"swish": np.ones((8, 1, 1), np.float32)})
    both = apply_constants(both, "Sub", {"swish.scaled": np.full((), 2, np.float32)})

    left = without_neutral_constants(both)

    assert [node.op_type for node in left.graph.node] == ["Conv", "HardSwish", "Sub", "Neg"]
    np.testing.assert_array_equal(run(left, photos)["out"], run(both, photos)["out"])
    assert without_neutral_constants(left) is left


def test_a_users_own_multiplication_by_one_is_left_alone(build):
    model = build("g (float[batch,4] x) => (float[batch,4] y) { y = Mul(x, one) }", one=np.float32(1)).model

    assert without_neutral_constants(model) is model
