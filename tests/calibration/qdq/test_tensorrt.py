import numpy as np
import pytest
from onnx import TensorProto

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.ranges.statistics import Range, collect_ranges
from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.session.session import Session


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


QUANTIZED_ACTIVATIONS = ("image", "relu", "squeeze", "flat")  # of `network`
QUANTIZED_WEIGHTS = {"conv_w": 0, "depthwise_w": 0, "excite_w": 0, "head_w": 0}


@pytest.fixture(scope="module")
def quantize():
    """Quantizes an artifact, calibrated on the batch."""
    return lambda artifact, batch: quantize_tensorrt(artifact, collect_ranges(artifact.model, [batch]))


@pytest.fixture(scope="module")
def quantized(network, photos, quantize):
    return quantize(network, photos)


@pytest.fixture(scope="module")
def x(rng):
    return rng(6).standard_normal((64, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def matrix(rng):
    """A 4x4 weight of the given seed."""
    return lambda seed: rng(seed).standard_normal((4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def count():
    """Number of nodes of each operator."""

    def count(artifact):
        kinds = [node.op_type for node in artifact.model.graph.node]
        return {kind: kinds.count(kind) for kind in kinds}

    return count


@pytest.fixture(scope="module")
def dequantized_weight():
    """What the quantized model computes with in place of a weight."""

    def dequantized_weight(artifact, name, axis):
        weights = initializers(artifact.model)
        integers = array_of(weights[f"{name}.axis{axis}.int8"])
        scales = array_of(weights[f"{name}.axis{axis}.scale"])
        shape = [-1 if i == axis else 1 for i in range(integers.ndim)]
        return integers.astype(np.float32) * scales.reshape(shape)

    return dequantized_weight


def test_a_quantized_network_is_valid_and_keeps_its_interface(quantized, network, assert_sound_child):
    assert_sound_child(quantized, network, "int8")


def test_a_quantized_network_stays_close(quantized, network, photos, run, relative_error):
    wanted, got = run(network, photos)["logits"], run(quantized, photos)["logits"]
    assert 0 < relative_error(wanted, got) < 0.1


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_onnx_runtime_runs_it_optimized_at_any_batch_size(quantized, photos, batch):
    with Session(quantized.data) as session:
        logits = session.run(photos[:batch])["logits"]
    assert logits.shape == (batch, 5)
    assert np.isfinite(logits).all()


def test_every_conv_and_gemm_reads_dequantized_activations_and_weights(quantized):
    makers = {name: node for node in quantized.model.graph.node for name in node.output}
    computing = [node for node in quantized.model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(computing) == 4
    for node in computing:
        activation, weight = (makers[name] for name in node.input[:2])
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert makers[activation.input[0]].op_type == "QuantizeLinear"
        assert weight.input[0] in initializers(quantized.model)


@pytest.mark.parametrize("name", QUANTIZED_ACTIVATIONS)
def test_activations_are_symmetric_with_the_scale_of_their_range(network, quantized, photos, name):
    ranges = collect_ranges(network.model, [photos])
    weights = initializers(quantized.model)
    zero_point = array_of(weights[f"{name}.zero_point"])
    assert array_of(weights[f"{name}.scale"]).item() == pytest.approx(ranges[name].absmax / 127, rel=1e-6)
    assert zero_point.dtype == np.int8
    assert zero_point.item() == 0


@pytest.mark.parametrize("name", QUANTIZED_ACTIVATIONS)
def test_scale_and_zero_point_of_an_activation_are_scalars(quantized, name):
    weights = initializers(quantized.model)
    assert list(weights[f"{name}.scale"].dims) == list(weights[f"{name}.zero_point"].dims) == []


@pytest.mark.parametrize(("name", "axis"), QUANTIZED_WEIGHTS.items())
def test_weights_are_int8_symmetric_per_output_channel(quantized, network_weights, name, axis):
    weights = initializers(quantized.model)
    original = network_weights[name]
    integers, scales, zero_points = (
        array_of(weights[f"{name}.axis{axis}.{part}"]) for part in ("int8", "scale", "zero_point")
    )
    channels = original.shape[axis]
    absmax = np.abs(np.moveaxis(original, axis, 0).reshape(channels, -1)).max(axis=1)
    assert integers.dtype == zero_points.dtype == np.int8
    assert integers.shape == original.shape
    np.testing.assert_allclose(scales, absmax / 127, rtol=1e-6)
    np.testing.assert_array_equal(zero_points, np.zeros(channels))
    node = next(n for n in quantized.model.graph.node if n.output[0] == f"{name}.axis{axis}.dequantized")
    assert {attribute.name: attribute.i for attribute in node.attribute} == {"axis": axis}


@pytest.mark.parametrize("name", ["conv_b", "depthwise_b", "excite_b", "head_b"])
def test_biases_stay_float32_and_unchanged(quantized, network_weights, name):
    bias = initializers(quantized.model)[name]
    assert bias.data_type == TensorProto.FLOAT
    np.testing.assert_array_equal(array_of(bias), network_weights[name])


def test_float_weights_leave_the_file(quantized, network, network_weights, weight_bytes):
    remaining = {t.name for t in quantized.model.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert not remaining & QUANTIZED_WEIGHTS.keys()
    assert weight_bytes(quantized.model) < 0.6 * weight_bytes(network.model)


def test_node_names_order_and_metadata_are_kept(change_network, photos, quantize):
    artifact = change_network()
    for node in artifact.model.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{node.name}', 'op']")
    nodes = quantize(artifact, photos).model.graph.node
    kept = [(n.name, n.metadata_props[0].value) for n in nodes if "Linear" not in n.op_type]
    assert kept == [(n.name, f"['', '{n.name}', 'op']") for n in artifact.model.graph.node]


@pytest.mark.parametrize(
    ("operation", "axis"),
    [("Gemm<transB=1>(x, w)", 0), ("Gemm<transB=0>(x, w)", 1), ("Gemm(x, w)", 1), ("MatMul(x, w)", 1)],
)
def test_each_output_channel_of_a_matrix_has_its_own_scale(
    vector, quantize, x, matrix, run, relative_error, assert_sound_child, operation, axis
):
    magnitudes = np.expand_dims(np.float32([1, 10, 100, 1000]), 1 - axis)
    artifact = vector(f"y = {operation}", w=matrix(7) * magnitudes)
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    assert f"w.axis{axis}.int8" in initializers(result.model)
    wanted, got = run(artifact, x)["y"], run(result, x)["y"]
    for channel in range(4):  # the smallest channel is as exact as the largest
        assert relative_error(wanted[:, channel], got[:, channel]) < 0.05


def test_an_activation_with_two_consumers_is_quantized_once(vector, quantize, x, matrix, count):
    artifact = vector("a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b)", w=matrix(1), v=matrix(2))
    assert count(quantize(artifact, x)) == {
        "QuantizeLinear": 1,
        "DequantizeLinear": 3,
        "MatMul": 2,
        "Add": 1,
    }


def test_a_shared_weight_is_quantized_once(
    vector, quantize, x, matrix, count, run, relative_error, assert_sound_child
):
    artifact = vector("a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)", w=matrix(1))
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    assert count(result)["DequantizeLinear"] == 3
    assert relative_error(run(artifact, x)["y"], run(result, x)["y"]) < 0.1


def test_a_weight_shared_along_both_axes_is_quantized_for_each(
    vector, quantize, x, matrix, dequantized_weight, assert_sound_child
):
    weight = matrix(1)
    artifact = vector("a = Gemm<transB=1>(x, w) r = Relu(a) y = Gemm<transB=0>(r, w)", w=weight)
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    for axis in (0, 1):
        np.testing.assert_allclose(
            dequantized_weight(result, "w", axis), weight, atol=np.abs(weight).max() / 250
        )


def test_a_weight_that_a_float_operator_reads_too_is_kept_for_it(
    vector, quantize, x, matrix, run, relative_error, assert_sound_child
):
    artifact = vector("positive = Relu(w) a = MatMul(x, w) y = MatMul(a, positive)", w=matrix(1))
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    np.testing.assert_array_equal(array_of(initializers(result.model)["w"]), matrix(1))
    assert relative_error(run(artifact, x)["y"], run(result, x)["y"]) < 0.1


def test_an_operator_without_constant_weights_stays_float(vector, quantize, x, matrix):
    artifact = vector("a = MatMul(x, w) t = Transpose(a) s = MatMul(a, t) y = MatMul(s, a)", w=matrix(1))
    makers = {node.output[0]: node for node in quantize(artifact, x).model.graph.node}
    assert list(makers["s"].input) == ["a", "t"]
    assert list(makers["y"].input) == ["s", "a"]


def test_an_activation_without_a_range_stays_float(vector, matrix):
    artifact = vector("a = MatMul(x, w) y = MatMul(a, v)", w=matrix(1), v=matrix(2))
    makers = {
        node.output[0]: node for node in quantize_tensorrt(artifact, {"x": Range(-1, 1)}).model.graph.node
    }
    assert list(makers["y"].input) == ["a", "v"]
    assert list(makers["a"].input) == ["x.dequantized", "w.axis1.dequantized"]


def test_an_output_that_is_also_quantized_inside_stays_a_float_output(
    build, quantize, x, matrix, run, relative_error, assert_sound_child
):
    artifact = build(
        "g (float[batch,4] x) => (float[batch,4] y, float[batch,4] z) { z = Relu(x) y = MatMul(z, w) }",
        w=matrix(1),
    )
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    wanted, got = run(artifact, x), run(result, x)
    np.testing.assert_array_equal(got["z"], wanted["z"])
    assert relative_error(wanted["y"], got["y"]) < 0.05


@pytest.mark.parametrize("dead", ["one output channel", "all weights"])
def test_dead_channels_stay_dead(vector, quantize, x, matrix, run, dead):
    weight = matrix(1)
    weight[:, 2 if dead == "one output channel" else slice(None)] = 0
    y = run(quantize(vector("y = MatMul(x, w)", w=weight), x), x)["y"]
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y[:, 2], 0)


def test_an_activation_that_is_always_zero_stays_zero(vector, quantize, x, matrix, run):
    artifact = vector("z = Mul(x, zero) y = MatMul(z, w)", zero=np.float32(0), w=matrix(1))
    np.testing.assert_array_equal(run(quantize(artifact, x), x)["y"], 0)


@pytest.mark.parametrize("value", [3.0, -2.0])
def test_a_constant_activation_is_exact_but_for_its_weights(vector, quantize, x, matrix, run, value):
    artifact = vector(
        "z = Mul(x, zero) c = Add(z, v) y = MatMul(c, w)",
        zero=np.float32(0),
        v=np.float32(value),
        w=matrix(1),
    )
    wanted, got = run(artifact, x)["y"], run(quantize(artifact, x), x)["y"]
    np.testing.assert_allclose(got, wanted, atol=4 * abs(value) * np.abs(matrix(1)).max() / 127 / 2)


def test_values_beyond_the_range_saturate(vector, matrix, run):
    artifact = vector("y = MatMul(x, w)", w=np.eye(4, dtype=np.float32))
    result = quantize_tensorrt(artifact, {"x": Range(-1, 0.5)})
    got = run(result, np.float32([[5, -5, 1, -1]]))["y"]
    np.testing.assert_allclose(got, [[1, -128 / 127, 1, -1]], rtol=1e-5)


def test_opsets_before_per_channel_quantization_are_refused(build, matrix):
    artifact = build("g (float[batch,4] x) => (float[batch,4] y) { y = MatMul(x, w) }", opset=12, w=matrix(1))
    with pytest.raises(ModelError, match=r"(?s)opset.*wanted: +opset 13 or later.*got: +opset 12"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)})


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_opsets_with_per_channel_quantization_are_taken(
    build, x, matrix, quantize, assert_sound_child, opset
):
    text = "g (float[batch,4] x) => (float[batch,4] y) { y = MatMul(x, w) }"
    artifact = build(text, opset=opset, w=matrix(1))
    assert_sound_child(quantize(artifact, x), artifact, "int8")


@pytest.mark.parametrize(
    "body",
    ["y = Relu(x)", "y = Mul(x, w)", "m = MatMul(x, batched) y = ReduceSum(m, axis)"],
    ids=["no weights", "no matrix", "batched matrix"],
)
def test_a_model_with_nothing_to_quantize_is_refused(vector, body, matrix):
    weights = {"w": matrix(1), "batched": np.stack([matrix(1), matrix(2)]), "axis": np.array([0])}
    artifact = vector(body, **{name: values for name, values in weights.items() if name in body})
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)})


def test_the_input_artifact_is_not_changed(network, photos, quantize):
    before = network.model.SerializeToString(deterministic=True)
    quantize(network, photos)
    assert network.model.SerializeToString(deterministic=True) == before


def test_quantizing_twice_gives_the_same_bytes(network, photos, quantize, quantized):
    assert quantize(network, photos).sha256 == quantized.sha256


def test_control_flow_is_refused_by_name(vector, matrix):
    artifact = vector(
        """m = MatMul(x, w)
        total = ReduceSum<keepdims=0>(m)
        positive = Greater(total, zero)
        y = If(positive)<
            then_branch = yes () => (float[batch,4] t) { t = Mul(m, factor) },
            else_branch = no () => (float[batch,4] e) { e = Add(m, factor) }
        >""",
        w=matrix(1),
        zero=np.float32(0),
        factor=np.float32(2),
    )
    with pytest.raises(ModelError, match=r"control flow \(If 'node_y'\)"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)})


RESIDUAL = """
g (float[batch,4,8,8] x) => (float[batch,4,8,8] y) {
    stem = Conv(x, w)
    branch = Conv(stem, v, b)
    sum = Add(stem, branch)
    y = Relu(sum)
}"""


@pytest.fixture(scope="module")
def residual(build, rng):
    random = rng(8)
    return build(
        RESIDUAL,
        w=random.standard_normal((4, 4, 1, 1)).astype(np.float32),
        v=random.standard_normal((4, 4, 1, 1)).astype(np.float32),
        b=random.standard_normal(4).astype(np.float32),
    )


@pytest.fixture(scope="module")
def images(rng):
    return rng(9).standard_normal((5, 4, 8, 8)).astype(np.float32)


def test_the_shortcut_of_a_residual_addition_is_quantized_once(residual, quantize, images, count):
    result = quantize(residual, images)
    adding = next(node for node in result.model.graph.node if node.op_type == "Add")
    assert list(adding.input) == ["stem.dequantized", "branch"]
    assert count(result)["QuantizeLinear"] == 2


def test_learned_scales_take_the_place_of_the_largest_magnitude(
    vector, quantize, x, matrix, dequantized_weight
):
    artifact = vector("y = MatMul(x, w)", w=matrix(1))
    ranges = collect_ranges(artifact.model, [x])
    scales = np.float32([0.01, 0.02, 0.005, 0.04])
    result = quantize_tensorrt(artifact, ranges, weight_scales={"w": scales})
    np.testing.assert_array_equal(array_of(initializers(result.model)["w.axis1.scale"]), scales)
    wanted = np.clip(np.rint(matrix(1) / scales), -127, 127) * scales
    np.testing.assert_allclose(dequantized_weight(result, "w", 1), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "scales",
    [
        np.float32([1, 1, 1]),
        np.float32([1, 1, 1, 0]),
        np.float32([1, 1, 1, -1]),
        np.float32([1, 1, 1, np.nan]),
    ],
    ids=["too few", "zero", "negative", "NaN"],
)
def test_scales_that_cannot_be_used_are_refused(vector, matrix, scales):
    artifact = vector("y = MatMul(x, w)", w=matrix(1))
    with pytest.raises(ModelError, match=r"(?s)scales of the weight 'w'.*4 positive numbers"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)}, weight_scales={"w": scales})


def test_scales_of_unknown_weights_are_refused(vector, matrix):
    artifact = vector("y = MatMul(x, w)", w=matrix(1))
    with pytest.raises(ModelError, match=r"(?s)weights that the model does not have.*elsewhere"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)}, weight_scales={"elsewhere": np.ones(4, np.float32)})


def test_what_is_kept_float_reads_and_weighs_as_before(vector, quantize, x, matrix):
    artifact = vector("a = MatMul(x, w) y = MatMul(a, v)", w=matrix(1), v=matrix(2))
    result = quantize_tensorrt(artifact, collect_ranges(artifact.model, [x]), keep_float=["a"])
    makers = {node.output[0]: node for node in result.model.graph.node}
    assert list(makers["a"].input) == ["x", "w"]
    assert list(makers["y"].input) == ["a.dequantized", "v.axis1.dequantized"]


def test_keeping_all_float_leaves_nothing_to_quantize(vector, matrix):
    artifact = vector("y = MatMul(x, w)", w=matrix(1))
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)}, keep_float=["y"])


def test_keeping_float_what_is_not_there_is_refused(vector, matrix):
    artifact = vector("y = MatMul(x, w)", w=matrix(1))
    with pytest.raises(ModelError, match=r"(?s)stay float that the model does not have.*got: +z"):
        quantize_tensorrt(artifact, {"x": Range(-1, 1)}, keep_float=["z"])


def test_a_quantized_model_is_not_quantized_again(network, photos, quantize, quantized):
    with pytest.raises(ModelError, match=r"quantized already: it holds QuantizeLinear 'quantize/image'"):
        quantize_tensorrt(quantized, collect_ranges(network.model, [photos]))
