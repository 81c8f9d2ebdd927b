"""Unevenness of channels moves into weights, and no answer changes."""

import numpy as np
import pytest

from edgeproof.calibration.passes.cross_layer_equalization import ChannelStatistics, channel_statistics
from edgeproof.calibration.passes.smoothing import best_factors, find_uneven, smooth
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs

CHAIN = """
chain (float[batch,3,16,16] image) => (float[batch,4,16,16] out) {{
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    {reader}
}}"""
LAYER = "out = Conv(between, point_w, point_b)"
LOWEST = np.full(8, 1 / 32)


@pytest.fixture
def chain(build, network_weights, rng):
    """A convolution whose channels differ a hundredfold, an activation, and what reads it."""
    spread = np.geomspace(0.1, 10, 8, dtype=np.float32)
    given = {
        "conv_w": network_weights["conv_w"] * spread.reshape(-1, 1, 1, 1),
        "conv_b": network_weights["conv_b"] * spread,
        "point_w": rng(6).standard_normal((4, 8, 1, 1)).astype(np.float32) / spread.reshape(1, -1, 1, 1),
        "point_b": np.zeros(4, np.float32),
    }
    return lambda reader: build(CHAIN.format(reader=reader), **given).model


@pytest.mark.parametrize("activation", ["Relu", "HardSwish", "Sigmoid"])
def test_no_answer_changes_and_channels_come_nearer(chain, photos, run, activation):
    model = chain(f"between = {activation}(conv) {LAYER}")

    even = smooth(model, find_quantized_inputs(model), [photos])

    np.testing.assert_allclose(run(even, photos)["out"], run(model, photos)["out"], rtol=1e-3, atol=1e-3)
    read = even.graph.node[-1].input[0]
    before = channel_statistics(model, ["between"], [photos])["between"].maxima
    after = channel_statistics(even, [read], [photos])[read].maxima
    if activation == "Sigmoid":  # its channels reach equally far already
        return
    assert after.max() / after.min() < 0.5 * before.max() / before.min()
    assert after.max() <= before.max() * 1.001, "no value grows"


def test_behind_a_relu_the_graph_stays_as_it_is(chain, photos):
    model = chain(f"between = Relu(conv) {LAYER}")

    even = smooth(model, find_quantized_inputs(model), [photos])

    assert [node.op_type for node in even.graph.node] == ["Conv", "Relu", "Conv"]


@pytest.mark.parametrize(
    "reader",
    [
        f"between = HardSwish(conv) {LAYER} other = Neg(between)",
        "between = HardSwish(conv) out = Conv<group=2>(between, point_w, point_b)",
        f"between = Clip(conv, low, high) {LAYER}",
        f"between = MaxPool<kernel_shape=[1,1]>(conv) {LAYER}",
    ],
    ids=["read by others", "grouped", "capped", "no activation"],
)
def test_what_cannot_be_scaled_is_left_alone(chain, photos, reader):
    model = chain(reader)

    assert find_uneven(model, find_quantized_inputs(model)) == {}
    assert smooth(model, find_quantized_inputs(model), [photos]) is model


def test_even_channels_are_left_alone():
    level = np.ones(8)
    rows = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)

    assert best_factors(ChannelStatistics(level, level), rows, np.arange(16), LOWEST) is None


def test_a_dead_channel_keeps_its_factor():
    reach = np.array([0.0, 100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    rows = np.ones((4, 8), np.float32)

    factors = best_factors(ChannelStatistics(reach, reach / 3), rows, np.arange(4), LOWEST)

    assert factors is not None
    assert np.isfinite(factors).all()
    assert factors[1] < factors[2], "the widest channel is narrowed against the others"


def test_smoothing_lowers_the_error_that_rounding_makes():
    random = np.random.default_rng(1)
    spread = np.geomspace(0.05, 20, 8)
    values = random.standard_normal((4096, 8)) * spread
    rows = (random.standard_normal((16, 8)) / np.sqrt(spread)).astype(np.float32)
    statistics = ChannelStatistics(np.abs(values).max(axis=0), np.sqrt((values**2).mean(axis=0)))

    factors = best_factors(statistics, rows, np.arange(16), LOWEST)

    def error(scale):
        x, w = values * scale, rows / scale
        step_x, step_w = np.abs(x).max() / 127, np.abs(w).max(axis=1, keepdims=True) / 127
        return np.linalg.norm(
            np.rint(x / step_x) * step_x @ (np.rint(w / step_w) * step_w).T - values @ rows.T
        )

    assert error(factors) < 0.7 * error(np.ones(8))
