"""Networks as other exporters and other years wrote them go through, or are refused by one sentence."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeproof.calibration import Int8Request, QuantizeRequest, quantize
from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop
from edgeproof.calibration.dataset.calibration_set import inspect
from edgeproof.calibration.dataset.load import normal_form
from edgeproof.calibration.onnx_graph.shapes import input_of
from edgeproof.calibration.passes.fp16 import convert_to_fp16
from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.calibration.preflight.handed_over import preflight_handed_over
from edgeproof.calibration.ranges.statistics import collect_statistics
from edgeproof.runtime.errors import AccuracyError
from edgeproof.runtime.tasks.registry import parse_task

OPSETS = range(9, 25)
IR_VERSIONS = dict(zip(OPSETS, (4, 5, 6, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 11), strict=True))
SIDE, SAMPLES = 16, 24
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def segmenter(version: int) -> onnx.ModelProto:
    """A small segmenter in the words of an opset, as exporters write it: batch norms unfolded, hard-swish in
    pieces, a grouped and a dilated convolution, ConvTranspose, Resize, and initializers listed as inputs."""
    random = np.random.default_rng(version)
    weights: dict[str, np.ndarray] = {}

    def weight(name: str, *shape: int) -> str:
        weights[name] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
        return name

    def norm(name: str, channels: int) -> list[str]:
        values = (random.uniform(0.7, 1.3, (4, channels)) * [[1], [0.1], [0.1], [1]]).astype(np.float32)
        weights.update({f"{name}_{kind}": row for kind, row in zip("sbmv", values, strict=True)})
        return [f"{name}_{kind}" for kind in "sbmv"]

    def constant(name: str, *values: float) -> str:
        weights[name] = np.array(values[0] if len(values) == 1 else values, np.float32)
        return name

    def clip(name: str, low: float, high: float, source: str) -> onnx.NodeProto:
        if version < 11:
            return helper.make_node("Clip", [source], [name], min=low, max=high)
        bounds = [constant(f"{name}_low", low), constant(f"{name}_high", high)]
        return helper.make_node("Clip", [source, *bounds], [name])

    def enlarge(name: str, source: str) -> onnx.NodeProto:
        scales = constant("scales", 1.0, 1.0, 2.0, 2.0)
        if version == 9:
            return helper.make_node("Upsample", [source, scales], [name], mode="nearest")
        if version == 10:
            return helper.make_node("Resize", [source, scales], [name], mode="nearest")
        roi = constant("roi") if version < 13 else ""
        return helper.make_node("Resize", [source, roi, scales], [name], mode="nearest")

    nodes = [
        helper.make_node("Conv", ["x", weight("w1", 8, 3, 3, 3)], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c1", *norm("n1", 8)], ["b1"]),
        helper.make_node("Add", ["b1", constant("three", 3.0)], ["shifted"]),
        clip("clipped", 0.0, 6.0, "shifted"),
        helper.make_node("Mul", ["b1", "clipped"], ["product"]),
        helper.make_node("Div", ["product", constant("six", 6.0)], ["swish"]),
        helper.make_node("Conv", ["swish", weight("w2", 8, 2, 3, 3)], ["c2"], pads=[1] * 4, group=4),
        helper.make_node("BatchNormalization", ["c2", *norm("n2", 8)], ["b2"]),
        clip("relu6", 0.0, 6.0, "b2"),
        helper.make_node("Conv", ["relu6", weight("w3", 8, 8, 3, 3)], ["c3"], pads=[2] * 4, dilations=[2, 2]),
        helper.make_node("Add", ["c3", "swish"], ["sum"]),
        helper.make_node("ConvTranspose", ["sum", weight("w4", 8, 8, 2, 2)], ["up"], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["up", *norm("n4", 8)], ["b4"]),
        enlarge("same", "swish"),
        helper.make_node("Concat", ["b4", "same"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", weight("w5", 4, 16, 1, 1)], ["logits"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    listed = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4, SIDE, SIDE])
    graph = helper.make_graph(nodes, "segmenter", [image, *listed], [answer], tensors)
    imports = [helper.make_opsetid("", version)]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSIONS[version])


def squares(count: int, side: int) -> np.ndarray:
    coarse = np.random.default_rng(5).normal(0, 1, (count, 3, side // 4, side // 4))
    return np.kron(coarse, np.ones((4, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def pictures():
    """Pictures of squares, shape (SAMPLES, 3, SIDE, SIDE)."""
    return squares(SAMPLES, SIDE)


@pytest.mark.parametrize("version", OPSETS)
def test_every_opset_goes_through_normal_form_and_fp16(version, pictures):
    artifact = normal_form(OnnxArtifact(segmenter(version), "file"))
    kinds = {node.op_type for node in artifact.model.graph.node}
    assert "HardSwish" in kinds
    assert not kinds & {"BatchNormalization", "Upsample", "Div"}
    wanted = input_of(artifact.model)
    samples = inspect(lambda positions: pictures[positions], SAMPLES, wanted, "the pictures")
    half = convert_to_fp16(artifact.model, collect_statistics(artifact.model, [pictures], []).ranges)
    judged = AccuracyDrop(artifact.model, samples, parse_task("segmentation")).measure(half.model)
    assert judged.parity
    assert judged.parity.sqnr_db > 50


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
@pytest.mark.parametrize("version", OPSETS)
def test_every_opset_becomes_int8(version, target, pictures):
    asked = Int8Request(max_drop=100, recover="off")
    result = quantize(QuantizeRequest(segmenter(version), pictures, int8=asked, target=target))
    assert result.quantized >= 4  # of five convolutions
    assert result.parity.sqnr_db > 15


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="TensorRT's compiler is not installed")
@pytest.mark.parametrize("version", [9, 13, 24])
def test_the_compiler_takes_what_becomes_of_old_and_new_opsets(version, pictures):
    asked = Int8Request(max_drop=100, recover="off")
    data = quantize(QuantizeRequest(segmenter(version), pictures, int8=asked)).artifact.data
    own = preflight(data)
    assert own
    assert preflight_handed_over(data, own)


@pytest.mark.parametrize("name", ["squeezenet"])
def test_a_network_that_answers_every_picture_alike_is_refused(name):
    with pytest.raises(AccuracyError, match="does not keep") as told:
        quantize(QuantizeRequest(LIGHT / f"light_{name}.onnx", squares(16, 224)))
    assert "are the weights trained" in told.value.details["got"]
