import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.calibration.preflight import handed_over as module
from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.calibration.preflight.handed_over import (
    lost_quantization,
    preflight_handed_over,
    without_cpu_casts,
)
from edgeproof.runtime.errors import ProofError
from edgeproof.runtime.providers.cuda import FOLD_WEIGHTS
from edgeproof.runtime.session import options as creation
from edgeproof.runtime.session.options import handed_over

needs_compiler = pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")


def quantized(half=False):
    """conv -> relu -> flatten -> conv, with Q/DQ pairs in front of both convolutions and on their weights."""
    random = np.random.default_rng(0)
    dtype = np.float16 if half else np.float32
    weights, nodes = [], []

    def constant(name, values):
        weights.append(numpy_helper.from_array(values, name))
        return name

    def pair(name):
        scale = constant(f"{name}.scale", np.array(0.05 if name == "relu" else 0.02, dtype))
        zero = constant(f"{name}.zero", np.zeros((), np.int8))
        nodes.append(helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}.int8"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.int8", scale, zero], [f"{name}.real"]))
        return f"{name}.real"

    def layer(number, source, shape):
        integers = constant(f"w{number}", random.integers(-127, 127, shape).astype(np.int8))
        scale = constant(f"w{number}.scale", np.full(shape[0], 0.01, dtype))
        zero = constant(f"w{number}.zero", np.zeros(shape[0], np.int8))
        nodes.append(
            helper.make_node("DequantizeLinear", [integers, scale, zero], [f"w{number}.real"], axis=0)
        )
        nodes.append(
            helper.make_node("Conv", [pair(source), f"w{number}.real"], [f"conv{number}"], pads=[1] * 4)
        )
        return f"conv{number}"

    source = "input"
    if half:
        nodes.append(helper.make_node("Cast", ["input"], ["input16"], to=TensorProto.FLOAT16))
        source = "input16"
    nodes.append(helper.make_node("Relu", [layer(1, source, (8, 3, 3, 3))], ["relu"]))
    last = layer(2, "relu", (4, 8, 3, 3))
    nodes.append(
        helper.make_node("Cast" if half else "Identity", [last], ["output"], **({"to": 1} if half else {}))
    )
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 4, 16, 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def rewritten(model):
    found = onnx.load_from_string(handed_over(onnxruntime, model.SerializeToString()))
    return without_cpu_casts(found, model)


@pytest.mark.parametrize("half", [False, True])
def test_every_pair_reaches_tensorrt_and_weights_are_still_integers(half):
    model = quantized(half)
    assert lost_quantization(model, rewritten(model)) == ()


def test_a_session_that_folds_the_weights_pairs_is_noticed(monkeypatch):
    """As ONNX Runtime does where `session.disable_quant_qdq` is set."""
    original = creation.session_options

    def folding(*arguments, **keywords):
        options = original(*arguments, **keywords)
        options.add_session_config_entry(FOLD_WEIGHTS, "1")
        return options

    monkeypatch.setattr(creation, "session_options", folding)
    model = quantized()
    lost = lost_quantization(model, rewritten(model))
    assert lost == ("2 of 4 DequantizeLinear", "2 integer weights, such as w1")


@pytest.mark.parametrize("half", [False, True])
def test_casts_for_the_cpu_are_no_part_of_it(half):
    model = quantized(half)
    found = rewritten(model)
    kinds = [node.op_type for node in found.graph.node]
    assert kinds.count("Cast") == (2 if half else 0)
    made = {name for node in found.graph.node for name in node.output}
    known = made | {tensor.name for tensor in found.graph.initializer} | {"input"}
    assert all(name in known for node in found.graph.node for name in node.input)


def test_a_layer_that_stays_float32_among_float16_reads_float32_there_too():
    """The CPU provider lets the casts around it cancel its own, and HardSwish falls to nameless pieces."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["input"], ["start"], to=TensorProto.FLOAT16),
        helper.make_node("HardSwish", ["start"], ["first"]),
        helper.make_node("Cast", ["first"], ["first.float32"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["first.float32", "kept"], ["wide"], name="kept"),
        helper.make_node("Cast", ["wide"], ["wide.float16"], to=TensorProto.FLOAT16),
        helper.make_node("HardSwish", ["wide.float16"], ["second"]),
        helper.make_node("Conv", ["second", "half"], ["last"], name="half"),
        helper.make_node("Cast", ["last"], ["output"], to=TensorProto.FLOAT),
    ]
    weights = [
        numpy_helper.from_array(random.normal(size=(3, 3, 1, 1)).astype(dtype), name)
        for name, dtype in (("kept", np.float32), ("half", np.float16))
    ]
    image = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mixed",
        [image("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [image("output", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    found = rewritten(model)
    onnx.checker.check_model(found, full_check=True)
    typed = onnx.shape_inference.infer_shapes(found, strict_mode=True, check_type=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed.graph.value_info}
    layers = {node.name: node for node in found.graph.node if node.op_type == "Conv"}
    assert kinds[layers["kept"].input[0]] == TensorProto.FLOAT
    assert kinds[layers["half"].input[0]] == TensorProto.FLOAT16


def test_a_doubled_pair_in_float32_is_cast_for_its_reader_in_float16():
    """Two readers make ONNX Runtime double the DequantizeLinear, whose copy the model does not know."""
    scale = numpy_helper.from_array(np.array(0.05, np.float32), "scale")
    zero = numpy_helper.from_array(np.zeros((), np.int8), "zero")
    weights = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["int8"]),
            helper.make_node("DequantizeLinear", ["int8", "scale", "zero"], ["real"]),
            helper.make_node("Conv", ["real", "w"], ["conv"]),
            helper.make_node("Cast", ["conv"], ["conv.float16"], to=TensorProto.FLOAT16),
            helper.make_node("Cast", ["real"], ["real.float16"], to=TensorProto.FLOAT16),
            helper.make_node("Add", ["conv.float16", "real.float16"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["output"], to=TensorProto.FLOAT),
        ],
        "doubled",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [scale, zero, weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    found = rewritten(model)
    assert [node.op_type for node in found.graph.node].count("DequantizeLinear") == 2
    onnx.checker.check_model(found, full_check=True)  # refuses operands of two types


def test_a_cast_from_a_bool_that_the_cpu_took_into_its_own_is_put_back():
    """As in EdgeNeXt's positions: a mask, counted along the rows, which the CPU provider does in float32."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["input16"], to=TensorProto.FLOAT16),
            helper.make_node("Greater", ["input16", "zero"], ["mask"]),
            helper.make_node("Cast", ["mask"], ["numbers"], to=TensorProto.FLOAT16),
            helper.make_node("CumSum", ["numbers", "axis"], ["counts"]),
            helper.make_node("Cast", ["counts"], ["output"], to=TensorProto.FLOAT),
        ],
        "positions",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 8])],
        [
            numpy_helper.from_array(np.zeros((), np.float16), "zero"),
            numpy_helper.from_array(np.array(1, np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    found = onnx.shape_inference.infer_shapes(rewritten(model), strict_mode=True, check_type=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in found.graph.value_info}
    (counting,) = (node for node in found.graph.node if node.op_type == "CumSum")
    assert kinds[counting.input[0]] == TensorProto.FLOAT16


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_an_operator_that_onnxruntime_takes_apart_keeps_one_type(approximate):
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float16), name)
        for name, shape in (("w1", (8, 3, 1, 1)), ("w2", (4, 8, 1, 1)))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["input"], ["input16"], to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["input16", "w1"], ["conv1"]),
            helper.make_node("Gelu", ["conv1"], ["gelu"], approximate=approximate),
            helper.make_node("Conv", ["gelu", "w2"], ["conv2"]),
            helper.make_node("Cast", ["conv2"], ["output"], to=TensorProto.FLOAT),
        ],
        "gelu",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 4, 8, 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    found = rewritten(model)
    assert "Gelu" not in {node.op_type for node in found.graph.node}
    onnx.checker.check_model(found, full_check=True)  # refuses operands of two types
    if is_installed():
        assert preflight_handed_over(model.SerializeToString(), preflight(model.SerializeToString()))


@needs_compiler
@pytest.mark.parametrize("half", [False, True])
def test_the_compiler_takes_what_is_handed_over_and_tells_the_size_of_its_engine(half):
    data = quantized(half).SerializeToString()
    own = preflight(data)
    assert own, str(own)
    assert own.engine_bytes["86"] > 0
    found = preflight_handed_over(data, own)
    found.require("int8")
    assert found.growth == found.result.engine_bytes["86"] / own.engine_bytes["86"]
    assert "accepted too" in str(found)


@needs_compiler
def test_lost_quantization_is_a_failed_proof(monkeypatch):
    monkeypatch.setattr(module, "lost_quantization", lambda model, rewritten: ("2 of 4 DequantizeLinear",))
    data = quantized().SerializeToString()
    found = preflight_handed_over(data, preflight(data))
    assert not found
    with pytest.raises(ProofError, match="handed another graph than the int8 model") as caught:
        found.require("int8")
    assert "2 of 4 DequantizeLinear" in str(caught.value)


@needs_compiler
def test_a_growing_engine_is_said():
    own = preflight(quantized().SerializeToString())
    grown = module.HandedOver(own, growth=1.78)
    assert "grows to 1.78 times" in str(grown)
    assert grown


@needs_compiler
def test_what_onnxruntime_does_not_take_is_said_and_is_no_refusal_of_tensorrts():
    model = quantized()
    own = preflight(model.SerializeToString())
    model.ir_version = 99
    found = preflight_handed_over(model.SerializeToString(), own)
    assert "not compiled as ONNX Runtime hands it over" in str(found)
    assert found
