"""The targets of INT8, by name."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs
from edgeproof.calibration.onnx_graph.graph import element_types, makers
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.ranges.statistics import Range
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.calibration.targets.quantizer import make_int8
from edgeproof.calibration.targets.registry import TARGETS, find_target
from edgeproof.runtime.errors import InputError


@pytest.fixture(scope="module")
def samples(photos):
    return CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)


def made(artifact, samples, name, **wanted):
    target, inputs = find_target(name), CalibrationInputs(artifact, samples)
    statistics = target.calibrate(inputs, Progress(quiet=True))
    return make_int8(target, inputs, statistics, Int8Request(**wanted))


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


def test_for_tensorrt_what_int8_leaves_float_is_float16(network, samples):
    model = made(network, samples, "tensorrt").artifact.model
    float32 = [value.name for value in model.graph.value_info if value.type.tensor_type.elem_type == 1]

    assert not any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer)
    assert not set(float32) - {"image", "logits"}


def test_by_request_it_stays_float32(network, samples):
    result = made(network, samples, "tensorrt-fp32")
    types = set(element_types(result.artifact.model).values())

    assert onnx.TensorProto.FLOAT16 not in types


def test_a_layer_that_float16_cannot_hold_is_int8_beside_float32(network, samples):
    """The ranges say that the first layer's output may reach 65504."""
    target, inputs = find_target("tensorrt"), CalibrationInputs(network, samples)
    found = target.calibrate(inputs, Progress(quiet=True))
    high = replace(found, ranges={**found.ranges, "conv": Range(-4e4, 4e4)})
    result = make_int8(target, inputs, high, Int8Request(recover="off"))
    nodes = {node.name: node for node in result.artifact.model.graph.node}
    types, made_by = element_types(result.artifact.model), makers(result.artifact.model)

    assert result.kept_float["node_conv"].precision == "float32"
    assert "conv reaches 4e+04" in result.kept_float["node_conv"].reason
    assert types["conv"] == onnx.TensorProto.FLOAT
    for name in nodes["node_conv"].input[:2]:
        assert made_by[name].op_type == "DequantizeLinear"
    assert result.parity.relative_l2 < 0.2


def test_on_the_cpu_recovery_lowers_the_error(network, samples, assert_sound_child):
    off = made(network, samples, "cpu", recover="off")
    always = made(network, samples, "cpu", recover="auto")

    assert_sound_child(always.artifact, network, "int8")
    assert always.recovered
    assert not off.recovered
    assert always.parity.relative_l2 < off.parity.relative_l2


@pytest.mark.parametrize("name", ["tpu", "tensorrt-fp16"])
def test_an_unknown_target_is_refused_with_those_that_there_are(name):
    with pytest.raises(InputError, match="tensorrt, tensorrt-fp32, cpu"):
        find_target(name)
