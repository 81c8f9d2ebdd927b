import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.qdq import cpu
from edgeproof.calibration.ranges.statistics import Range, collect_ranges
from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.session.session import Session


def quantize_cpu(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(cpu.quantize_cpu(artifact.model, *arguments, **options), "int8", "int8")


IMAGES = "g (float[batch,4,6,6] x) => ({outputs}) {{ {body} }}"
OUTPUT = "float[batch,4,6,6] y"


@pytest.fixture(scope="module")
def quantize():
    """Quantizes an artifact for the CPU, calibrated on the batch."""
    return lambda artifact, batch: quantize_cpu(artifact, collect_ranges(artifact.model, [batch]))


@pytest.fixture(scope="module")
def quantized(network, photos, quantize):
    return quantize(network, photos)


@pytest.fixture(scope="module")
def images(rng):
    return rng(9).standard_normal((5, 4, 6, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def weight(rng):
    """Weights of a convolution without a window, of the given seed."""
    return lambda seed: rng(seed).standard_normal((4, 4, 1, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def convolving(build):
    """An artifact over images of four channels."""
    return lambda body, outputs=OUTPUT, **weights: build(IMAGES.format(body=body, outputs=outputs), **weights)


@pytest.fixture(scope="module")
def kinds():
    """Operators of an artifact's nodes, without those of the Q/DQ pairs."""
    return lambda artifact: [
        node.op_type for node in artifact.model.graph.node if not node.op_type.endswith("Linear")
    ]


@pytest.fixture
def executed(tmp_path):
    """Operators that ONNX Runtime executes for an artifact."""

    def executed(artifact):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(artifact.data, options, providers=["CPUExecutionProvider"])
        return {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}

    return executed


def test_a_quantized_network_is_valid_and_keeps_its_interface(quantized, network, assert_sound_child):
    assert_sound_child(quantized, network, "int8")


def test_a_quantized_network_stays_close(quantized, network, photos, run, relative_error):
    wanted, got = run(network, photos)["logits"], run(quantized, photos)["logits"]
    assert 0 < relative_error(wanted, got) < 0.05


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_its_kernels_compute_what_its_graph_says_at_any_batch_size(
    quantized, photos, run, relative_error, batch
):
    with Session(quantized.data) as session:
        logits = session.run(photos[:batch])["logits"]
    assert logits.shape == (batch, 5)
    assert relative_error(run(quantized, photos[:batch])["logits"], logits) < 0.05


def test_onnx_runtime_computes_all_of_it_in_integers(quantized, executed):
    floats = {"Conv", "Gemm", "Relu", "Add", "Mul", "HardSwish", "HardSigmoid", "GlobalAveragePool", "Clip"}
    found = executed(quantized)
    assert not found & floats
    assert {"QLinearConv", "QLinearAdd", "QLinearMul", "QGemm"} <= found


def test_activations_are_unsigned_weights_signed_and_biases_on_the_products_grid(quantized):
    weights = initializers(quantized.model)
    makers = {name: node for node in quantized.model.graph.node for name in node.output}
    for node in quantized.model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        activation, weight, bias = (makers[name] for name in node.input)
        scales = [array_of(weights[found.input[1]]) for found in (activation, weight, bias)]
        assert array_of(weights[activation.input[2]]).dtype == np.uint8
        assert array_of(weights[weight.input[0]]).dtype == np.int8
        assert not array_of(weights[weight.input[2]]).any()
        assert array_of(weights[bias.input[0]]).dtype == np.int32
        np.testing.assert_allclose(scales[2], scales[0] * scales[1], rtol=1e-6)


def test_the_answers_are_not_quantized(quantized):
    makers = {name: node for node in quantized.model.graph.node for name in node.output}
    assert makers["logits"].op_type == "Gemm"


@pytest.mark.parametrize("activation", ["Relu(c)", "Clip(c, low, high)", "Clip(c, low)"])
def test_an_activation_that_saturation_does_is_folded(
    convolving, quantize, weight, images, kinds, run, relative_error, assert_sound_child, activation
):
    artifact = convolving(
        f"c = Conv(x, w) r = {activation} y = Conv(r, v)",
        w=weight(1),
        v=weight(2),
        **{k: v for k, v in {"low": np.float32(0), "high": np.float32(6)}.items() if k in activation},
    )
    result = quantize(artifact, images)
    assert_sound_child(result, artifact, "int8")
    assert kinds(result) == ["Conv", "Conv"]
    assert relative_error(run(artifact, images)["y"], run(result, images)["y"]) < 0.05


def test_ranges_wider_than_the_activation_are_cut_to_it(convolving, weight, images, run):
    bounds = {"low": np.float32(0), "high": np.float32(1)}
    artifact = convolving(
        "c = Conv(x, w) r = Clip(c, low, high) y = Conv(r, v)", w=weight(1), v=weight(2), **bounds
    )
    exact = quantize_cpu(artifact, {"x": Range(-4, 4), "r": Range(0, 1)})
    wide = quantize_cpu(artifact, {"x": Range(-4, 4), "r": Range(-2, 9)})
    np.testing.assert_array_equal(run(exact, images)["y"], run(wide, images)["y"])


def test_an_activation_without_a_range_is_not_folded(convolving, weight, kinds):
    artifact = convolving("c = Conv(x, w) r = Relu(c) y = Conv(r, v)", w=weight(1), v=weight(2))
    result = quantize_cpu(artifact, {"x": Range(-4, 4), "c": Range(-9, 9)})
    assert kinds(result) == ["Conv", "Relu", "Conv"]


def test_an_activation_whose_input_is_read_elsewhere_stays(
    convolving, quantize, weight, images, kinds, run, relative_error
):
    artifact = convolving(
        "c = Conv(x, w) r = Relu(c) a = Conv(r, v) b = Conv(c, v) y = Add(a, b)", w=weight(1), v=weight(2)
    )
    result = quantize(artifact, images)
    assert "Relu" in kinds(result)
    assert relative_error(run(artifact, images)["y"], run(result, images)["y"]) < 0.05


@pytest.mark.parametrize("name", ["r", "c"])
def test_an_activation_that_is_an_output_or_whose_input_is_one_stays(
    convolving, quantize, weight, images, run, relative_error, assert_sound_child, name
):
    artifact = convolving(
        "c = Conv(x, w) r = Relu(c) y = Conv(r, v)",
        f"float[batch,4,6,6] y, float[batch,4,6,6] {name}",
        w=weight(1),
        v=weight(2),
    )
    result = quantize(artifact, images)
    assert_sound_child(result, artifact, "int8")
    wanted, got = run(artifact, images), run(result, images)
    assert (got[name].min() >= 0) == (name == "r")
    for output in ("y", name):
        assert relative_error(wanted[output], got[output]) < 0.05


SHAPES = {
    "whole": np.array([0, 4, 6, 6]),
    "first": np.array([1]),
    "rows": np.array([0, -1]),
    "one": np.array([4]),
}


@pytest.mark.parametrize(
    ("moved", "back"),
    [
        ("MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(c)", ""),
        ("Identity(c)", ""),
        ("Reshape(c, whole)", ""),
        ("Transpose<perm=[0,1,3,2]>(c)", ""),
        ("Flatten(c)", "b = Reshape(m, whole)"),
        ("Unsqueeze(c, first)", "b = Squeeze(m, first)"),
    ],
)
def test_what_only_moves_values_keeps_their_grid(convolving, quantize, weight, images, moved, back):
    artifact = convolving(
        f"c = Conv(x, w) m = {moved} {back} y = Conv({'b' if back else 'm'}, v)",
        w=weight(1),
        v=weight(2),
        **{name: values for name, values in SHAPES.items() if name in moved + back},
    )
    weights = initializers(quantize(artifact, images).model)
    if back:
        assert array_of(weights["b.scale"]) == array_of(weights["c.scale"])
    for part in ("scale", "zero_point"):
        assert array_of(weights[f"m.{part}"]) == array_of(weights[f"c.{part}"])


@pytest.mark.parametrize(
    "operation",
    [
        *("Add(c, c)", "Mul(c, c)", "Sigmoid(c)", "LeakyRelu(c)", "HardSigmoid(c)", "Concat<axis=1>(c)"),
        *("AveragePool<kernel_shape=[1,1]>(c)", "GlobalAveragePool(c)", "MaxPool<kernel_shape=[1,1]>(c)"),
        *("Identity(c)", "Transpose<perm=[0,1,3,2]>(c)", "Reshape(c, whole)"),
    ],
)
def test_integers_flow_through_what_has_an_integer_kernel(
    convolving, quantize, weight, images, run, relative_error, operation
):
    """Its output is rounded for a multiplication that no convolution reads directly."""
    artifact = convolving(
        f"c = Conv(x, w) k = {operation} m = Mul(k, k) y = Conv(m, v)",
        "float[batch,4,1,1] y" if operation.startswith("Global") else OUTPUT,
        w=weight(1),
        v=weight(2),
        **({"whole": SHAPES["whole"]} if "whole" in operation else {}),
    )
    result = quantize(artifact, images)
    makers = {name: node for node in result.model.graph.node for name in node.output}
    assert list(makers["m"].input) == ["k.dequantized", "k.dequantized"]
    assert makers["k.dequantized"].op_type == "DequantizeLinear"
    assert "c.dequantized" in {name for node in makers.values() for name in node.input}
    assert relative_error(run(artifact, images)["y"], run(result, images)["y"]) < 0.15


def test_every_node_has_a_name_of_its_own(quantized):
    names = [node.name for node in quantized.model.graph.node]
    assert all(names)
    assert len(names) == len(set(names))


def test_what_no_integer_node_reads_stays_float(convolving, quantize, weight, images, kinds):
    artifact = convolving("c = Conv(x, w) s = Sigmoid(c) m = Mul(s, c) y = Softmax<axis=1>(m)", w=weight(1))
    result = quantize(artifact, images)
    makers = {node.output[0]: node for node in result.model.graph.node}
    assert list(makers["m"].input) == ["s", "c.dequantized"]
    assert kinds(result) == ["Conv", "Sigmoid", "Mul", "Softmax"]


@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2]])
@pytest.mark.parametrize("keep", [0, 1])
def test_the_mean_over_height_and_width_becomes_a_pool(
    convolving, quantize, weight, images, run, relative_error, kinds, axes, keep
):
    shape = "float[batch,4,1,1] y" if keep else "float[batch,4] y"
    last = "Conv(m, w)" if keep else "MatMul(m, v)"
    weights = {"w": weight(1), "axes": np.array(axes), **({} if keep else {"v": weight(2).reshape(4, 4)})}
    artifact = convolving(
        f"c = Conv(x, w) m = ReduceMean<keepdims={keep}>(c, axes) y = {last}", shape, **weights
    )
    result = quantize(artifact, images)
    assert "GlobalAveragePool" in kinds(result)
    assert "ReduceMean" not in kinds(result)
    assert relative_error(run(artifact, images)["y"], run(result, images)["y"]) < 0.05


def test_another_mean_stays_as_it_is(convolving, quantize, weight, images, kinds):
    artifact = convolving(
        "c = Conv(x, w) m = ReduceMean(c, axes) y = Add(c, m)", w=weight(1), axes=np.array([1])
    )
    assert "ReduceMean" in kinds(quantize(artifact, images))


@settings(max_examples=25)
@given(low=st.floats(-8, 0), high=st.floats(0.5, 8))
def test_integer_hard_swish_is_within_two_steps(convolving, run, low, high):
    eye = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    artifact = convolving("c = Conv(x, w) h = HardSwish(c) y = Conv(h, w)", w=eye)
    values = np.linspace(low, high, 144, dtype=np.float32).reshape(1, 4, 6, 6)
    swish = values * np.clip(values / 6 + 0.5, 0, 1)
    ranges = {
        "x": Range(low, high),
        "c": Range(low, high),
        "h": Range(float(swish.min()), float(swish.max())),
    }
    got = run(quantize_cpu(artifact, ranges), values)["y"]
    step = (high - low) / 255
    np.testing.assert_allclose(
        got, swish, atol=2 * max(step, np.ptp(swish) / 255) + 0.01 * np.abs(swish).max()
    )


def test_a_gate_that_falls_stays_float(convolving, quantize, weight, images, run, relative_error, kinds):
    artifact = convolving(
        "c = Conv(x, w) g = HardSigmoid<alpha=-0.2, beta=0.5>(c) m = Mul(c, g) y = Conv(m, w)", w=weight(1)
    )
    result = quantize(artifact, images)
    assert "HardSigmoid" in kinds(result)
    assert relative_error(run(artifact, images)["y"], run(result, images)["y"]) < 0.05


def test_three_channels_are_filled_up_to_four(quantized, run, photos):
    weights = initializers(quantized.model)
    first = array_of(weights["conv.weight.int8"])
    assert first.shape == (8, 4, 3, 3)
    assert not first[:, 3].any()


def test_of_two_values_that_are_filled_up_each_keeps_its_own(build, quantize, rng, run, relative_error):
    random = rng(21)
    artifact = build(
        "g (float[batch,3,6,6] x) => (float[batch,4,6,6] y) { t = HardSwish(x) c = Conv(x, w) d = Conv(t, v) "
        "y = Sub(c, d) }",
        **{name: random.standard_normal((4, 3, 1, 1)).astype(np.float32) for name in "wv"},
    )
    batch = random.standard_normal((5, 3, 6, 6)).astype(np.float32)
    result = quantize(artifact, batch)
    assert relative_error(run(artifact, batch)["y"], run(result, batch)["y"]) < 0.05


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [("", np.int32), ("<alpha=1.0, beta=1.0>", np.int32), ("<alpha=0.5>", None), ("<beta=2.0>", None)],
)
def test_a_bias_is_an_integer_where_it_is_added_as_it_is(vector, quantize, rng, attributes, kind):
    random = rng(22)
    matrix, bias = random.standard_normal((4, 4)).astype(np.float32), np.float32([1, 2, 3, 4])
    result = quantize(vector(f"y = Gemm{attributes}(x, w, b)", w=matrix, b=bias), matrix)
    weights = initializers(result.model)
    assert ("b" in weights) == (kind is None)
    assert kind is None or array_of(weights["y.bias.int32"]).dtype == kind


@pytest.mark.parametrize("bias", [0.0, 0.5, -30.0])
def test_a_dead_channel_gives_its_bias(convolving, quantize, weight, images, run, bias):
    dead, other = weight(1), weight(2)
    dead[2] = 0
    artifact = convolving("c = Conv(x, w, b) y = Conv(c, v)", w=dead, b=np.float32([1, 2, bias, 3]), v=other)
    wanted, got = run(artifact, images)["y"], run(quantize(artifact, images), images)["y"]
    np.testing.assert_allclose(got, wanted, atol=0.02 * np.abs(wanted).max())


def test_a_bias_far_beyond_the_products_still_fits(convolving, quantize, weight, images, run, relative_error):
    artifact = convolving(
        "y = Conv(x, w, b)", w=weight(1) * np.float32(1e-9), b=np.float32([1e3, -1e3, 1, 0])
    )
    wanted, got = run(artifact, images)["y"], run(quantize(artifact, images), images)["y"]
    assert relative_error(wanted, got) < 1e-6


def test_a_value_that_is_always_zero_stays_zero(convolving, quantize, weight, images, run):
    artifact = convolving("z = Mul(x, zero) y = Conv(z, w)", zero=np.float32(0), w=weight(1))
    np.testing.assert_array_equal(run(quantize(artifact, images), images)["y"], 0)


def test_learned_scales_are_taken(convolving, weight, images):
    scales = np.float32([0.01, 0.02, 0.03, 0.04])
    artifact = convolving("y = Conv(x, w)", w=weight(1))
    result = quantize_cpu(artifact, {"x": Range(-4, 4)}, weight_scales={"w": scales})
    written = array_of(initializers(result.model)["y.weight.scale"])
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, scales)


def test_what_is_kept_float_has_its_weights(convolving, weight, images):
    artifact = convolving("c = Conv(x, w) h = HardSwish(c) y = Conv(h, v)", w=weight(1), v=weight(2))
    ranges = collect_ranges(artifact.model, [images])
    makers = {n.output[0]: n for n in quantize_cpu(artifact, ranges, keep_float=["c", "h"]).model.graph.node}
    assert list(makers["c"].input) == ["x", "w"]
    assert makers["h"].op_type == "HardSwish"


def test_a_node_without_a_range_stays_float(convolving, weight):
    artifact = convolving("c = Conv(x, w) y = Conv(c, v)", w=weight(1), v=weight(2))
    makers = {n.output[0]: n for n in quantize_cpu(artifact, {"x": Range(-1, 1)}).model.graph.node}
    assert list(makers["y"].input) == ["c", "v"]


@pytest.mark.parametrize(
    "operation",
    ["Gemm<transB=1>(x, w, b)", "Gemm(x, w, b)", "Gemm<alpha=0.5, beta=2.0>(x, w, b)", "MatMul(x, w)"],
)
def test_matrices_are_taken_in_each_form(
    vector, rng, quantize, run, relative_error, assert_sound_child, operation
):
    random, x = rng(1), rng(2).standard_normal((64, 4)).astype(np.float32)
    weights = {"w": random.standard_normal((4, 4)).astype(np.float32)}
    if "b" in operation:
        weights["b"] = random.standard_normal(4).astype(np.float32)
    artifact = vector(f"y = {operation}", **weights)
    result = quantize(artifact, x)
    assert_sound_child(result, artifact, "int8")
    assert relative_error(run(artifact, x)["y"], run(result, x)["y"]) < 0.02


def test_opsets_before_per_channel_quantization_are_refused(build):
    text = "g (float[batch,4] x) => (float[batch,4] y) { y = MatMul(x, w) }"
    artifact = build(text, opset=12, w=np.eye(4, dtype=np.float32))
    with pytest.raises(ModelError, match="opset 13 or later"):
        quantize_cpu(artifact, {"x": Range(-1, 1)})


def test_a_model_with_nothing_to_quantize_is_refused(vector):
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul"):
        quantize_cpu(vector("y = Relu(x)"), {"x": Range(-1, 1)})


def test_a_quantized_model_is_not_quantized_again(quantized):
    with pytest.raises(ModelError, match="quantized already"):
        quantize_cpu(quantized, {"image": Range(-1, 1)})


def test_the_input_artifact_is_not_changed_and_the_bytes_are_the_same(network, photos, quantize, quantized):
    before = network.model.SerializeToString(deterministic=True)
    assert quantize(network, photos).sha256 == quantized.sha256
    assert network.model.SerializeToString(deterministic=True) == before
