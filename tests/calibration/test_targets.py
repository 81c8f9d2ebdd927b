"""The targets of INT8, by name."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.batches import CalibrationSet
from edgeproof.calibration.int8 import Int8Request
from edgeproof.calibration.progress import Stages
from edgeproof.calibration.targets import TARGETS, find_target
from edgeproof.runtime.errors import InputError


@pytest.fixture(scope="module")
def samples(photos):
    return CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)


def made(artifact, samples, name, **wanted):
    target, quiet = find_target(name), Stages(quiet=True)
    statistics = target.calibrate(artifact, samples, quiet)
    return target.make(artifact, samples, statistics, Int8Request(**wanted), None, quiet)


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_gives_a_sound_model_that_keeps_the_answers(network, samples, name, assert_sound_child):
    result = made(network, samples, name, max_drop=10)

    assert_sound_child(result.artifact, network, "int8")
    assert result.parity.relative_l2 < 0.2
    assert result.drop <= 10


def kinds(model):
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return {weights[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}


def test_the_cpu_takes_unsigned_activations_and_tensorrt_signed_ones(network, samples):
    assert kinds(made(network, samples, "cpu").artifact.model) == {onnx.TensorProto.UINT8}
    assert kinds(made(network, samples, "tensorrt").artifact.model) == {onnx.TensorProto.INT8}


def test_what_stays_float_may_be_float16(network, samples):
    model = made(network, samples, "tensorrt-fp16").artifact.model
    float32 = [value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == 1]

    assert not any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer)
    assert not set(float32) - {"image", "logits"}


def test_on_the_cpu_the_worst_layers_stay_float_if_the_budget_asks_for_it(network, samples):
    strict = made(network, samples, "cpu", max_drop=-1)  # which nothing can hold
    off = made(network, samples, "cpu", max_drop=-1, recover="off")

    assert off.kept_float == {}
    assert set(strict.kept_float) <= {"conv", "depthwise", "excite", "residual", "logits"}
    assert strict.drop <= off.drop


def test_on_the_cpu_recovery_lowers_the_error(network, samples, assert_sound_child):
    off = made(network, samples, "cpu", recover="off")
    always = made(network, samples, "cpu", recover="always")

    assert_sound_child(always.artifact, network, "int8")
    assert always.recovered
    assert not off.recovered
    assert always.parity.relative_l2 < off.parity.relative_l2


def test_an_unknown_target_is_refused_with_those_that_there_are():
    with pytest.raises(InputError, match="tensorrt, tensorrt-fp16, cpu"):
        find_target("tpu")
