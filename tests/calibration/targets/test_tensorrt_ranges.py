"""A network of hard-swish and depthwise convolutions with channels of all sizes keeps its answers."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs
from edgeproof.calibration.passes.pointwise import applied
from edgeproof.calibration.preflight.check import PreflightRequest, is_installed, preflight
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.qdq.quantized_inputs import LAYERS_ONLY
from edgeproof.calibration.recovery.channel_constants import with_constants
from edgeproof.calibration.recovery.mixed_precision import least_error_plans
from edgeproof.calibration.recovery.parameters import baseline
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.calibration.targets.quantizer import make_int8
from edgeproof.calibration.targets.registry import find_target
from edgeproof.calibration.targets.tensorrt_ranges import choose_plan

QUIET = Progress(quiet=True)
NETWORK = """
network (float[batch,3,16,16] image) => (float[batch,5] logits) {
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    swish = HardSwish(conv)
    depthwise = Conv<pads=[1,1,1,1], group=8>(swish, depthwise_w, depthwise_b)
    again = HardSwish(depthwise)
    mixed = Conv(again, mixed_w, mixed_b)
    relu = Relu(mixed)
    pool = GlobalAveragePool(relu)
    flat = Flatten(pool)
    logits = Gemm<transB=1>(flat, head_w, head_b)
}"""


@pytest.fixture(scope="module")
def swishing(build, network_weights, rng, he_normal):
    """Its small channels say as much as the large ones: the layer after them has larger weights for them."""
    normal, spread = he_normal(rng(9)), np.geomspace(0.1, 20, 8, dtype=np.float32)

    return build(
        NETWORK,
        conv_w=network_weights["conv_w"] * spread.reshape(-1, 1, 1, 1),
        conv_b=network_weights["conv_b"] * spread,
        depthwise_w=network_weights["depthwise_w"] / spread.reshape(-1, 1, 1, 1),
        depthwise_b=network_weights["depthwise_b"],
        mixed_w=normal(8, 8, 1, 1),
        mixed_b=np.zeros(8, np.float32),
        head_w=normal(5, 8),
        head_b=np.zeros(5, np.float32),
    )


@pytest.fixture(scope="module")
def inputs(swishing, photos):
    samples = CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)
    return CalibrationInputs(swishing, samples)


def test_factors_and_offsets_take_most_of_the_error_away(inputs, swishing, photos, run, relative_error):
    target, right = find_target("tensorrt-fp32"), run(swishing, photos)["logits"]
    (plain,) = least_error_plans(swishing, inputs.samples, QUIET, [LAYERS_ONLY])
    artifact, histograms = with_constants(swishing, inputs.samples, QUIET)
    assert relative_error(right, run(artifact, photos)["logits"]) < 1e-5

    plan, choices = choose_plan(CalibrationInputs(artifact, inputs.samples), histograms, LAYERS_ONLY, QUIET)

    before, after = (
        relative_error(right, run(target.write(baseline(each), {}, {}).model, photos)["logits"])
        for each in (plain, plan)
    )
    assert after < 0.4 * before
    assert {choice.value for choice in choices} == {"image", "swish.scaled", "again.scaled.moved", "flat"}


def test_the_int8_graph_has_them_behind_the_activations(inputs, photos, run, relative_error, swishing):
    target = find_target("tensorrt")
    statistics = target.calibrate(inputs, QUIET)

    result = make_int8(target, inputs, statistics, Int8Request(recover="off"))

    onnx.checker.check_model(result.artifact.model, full_check=True)
    operators = [node.op_type for node in result.artifact.model.graph.node]
    assert (operators.count("Mul"), operators.count("Sub")) == (2, 1)
    assert result.kept_float == {}
    assert relative_error(run(swishing, photos)["logits"], run(result.artifact, photos)["logits"]) < 0.02


@pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")
def test_the_engine_has_no_more_layers_for_them(inputs, swishing):
    target, layers = find_target("tensorrt"), []
    statistics = target.calibrate(inputs, QUIET)
    (plain,) = least_error_plans(swishing, inputs.samples, QUIET, [LAYERS_ONLY])
    artifact, histograms = with_constants(swishing, inputs.samples, QUIET)
    plan, _ = choose_plan(CalibrationInputs(artifact, inputs.samples), histograms, LAYERS_ONLY, QUIET)

    for each in (plain, plan):
        written = target.write(baseline(each), statistics.ranges, {}).model
        built = preflight(written.SerializeToString(), PreflightRequest(sides=(3, 16, 16)))
        layers.append(built.layers[built.capabilities[0]])

    assert sum(applied(node) for node in artifact.model.graph.node) == 3
    assert layers[0] == layers[1]
