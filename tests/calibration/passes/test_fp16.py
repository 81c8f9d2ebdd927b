import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeproof.calibration.onnx_graph.graph import array_of, element_types, initializers, makers
from edgeproof.calibration.passes import fp16
from edgeproof.calibration.passes.fp16 import HALF_MAX, HEADROOM
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.ranges.statistics import Range, collect_ranges
from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.session.session import Session


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


class Converted:
    """An artifact as the stage makes it, and what stays float32."""

    def __init__(self, artifact, result):
        precision = "int8" if artifact.precision == "int8" else "fp16"
        self.artifact = artifact.derive(result.model, "fp16", precision)
        self.kept_float32 = result.kept_float32


def convert_to_fp16(artifact, ranges):
    return Converted(artifact, fp16.convert_to_fp16(artifact.model, ranges))


TOLERANCE = 5e-3  # a few roundings to 11 significant bits


@pytest.fixture(scope="module")
def half():
    """Converts an artifact, calibrated on the batch."""
    return lambda artifact, batch: convert_to_fp16(artifact, collect_ranges(artifact.model, [batch]))


@pytest.fixture(scope="module")
def x(rng):
    return rng(5).standard_normal((6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def assert_close(run, relative_error):
    """Asserts that two artifacts give the same outputs, near enough for float16."""

    def assert_close(reference, candidate, batch):
        wanted, got = run(reference, batch), run(candidate, batch)
        assert wanted.keys() == got.keys()
        for name in wanted:
            assert got[name].dtype == np.float32
            assert got[name].shape == wanted[name].shape
            assert relative_error(wanted[name], got[name]) < TOLERANCE

    return assert_close


# What each body holds besides plain float32 arithmetic.
BODIES = {
    "clip with bounds": ("y = Clip(x, low, high)", {"low": np.float32(-0.5), "high": np.float32(0.5)}),
    "clip with one bound": ("y = Clip(x, , high)", {"high": np.float32(0.5)}),
    "matmul": ("y = MatMul(x, w)", {"w": np.float32(np.eye(4)[::-1] + 0.1)}),
    "gemm": ("y = Gemm<alpha=0.5>(x, w, b)", {"w": np.float32(np.eye(4)), "b": np.float32([1, 2, 3, 4])}),
    "batch norm": (
        "y = BatchNormalization(x, scale, bias, mean, var)",
        {name: np.float32([1, 2, 3, 4]) for name in ("scale", "bias", "mean", "var")},
    ),
    "shared weight": ("m = MatMul(x, w) y = MatMul(m, w)", {"w": np.float32(np.eye(4)[::-1] + 0.1)}),
    "tensor constant": ("c = Constant<value = float[4] {1.5, 2.5, -3.5, 0.0}>() y = Add(x, c)", {}),
    "value_float": ("c = Constant<value_float=2.5>() y = Mul(x, c)", {}),
    "value_floats": ("c = Constant<value_floats=[1.0, 2.0, 3.0, 4.0]>() y = Mul(x, c)", {}),
    "integer constant": ("c = Constant<value_ints=[-1, 4]>() y = Reshape(x, c)", {}),
    "cast from integer": ("s = Shape(x) f = Cast<to=1>(s) m = ReduceMax<keepdims=0>(f) y = Mul(x, m)", {}),
    "cast to double and back": ("d = Cast<to=11>(x) r = Relu(d) y = Cast<to=1>(r)", {}),
    "cast to float16 and back": ("h = Cast<to=10>(x) r = Relu(h) y = Cast<to=1>(r)", {}),
    "comparison": ("p = Greater(x, zero) y = Where(p, x, zero)", {"zero": np.float32(0)}),
    "several outputs": ("a, b = Split<axis=1, num_outputs=2>(x) y = Concat<axis=1>(b, a)", {}),
    "integer output": ("t, i = TopK(x, k) y = Add(t, x)", {"k": np.array([4])}),
    "float32-only operator": (
        "r = Range(start, stop, step) y = Add(x, r)",
        {"start": np.float32(0), "stop": np.float32(4), "step": np.float32(1)},
    ),
    "typed by dtype": ("r = EyeLike<dtype=1>(x) y = Add(x, r)", {}),
    "filled by value": ("s = Shape(x) f = ConstantOfShape<value = float[1] {2.0}>(s) y = Add(x, f)", {}),
    "zero weights": ("m = MatMul(x, w) y = Add(m, x)", {"w": np.zeros((4, 4), np.float32)}),
}


@pytest.mark.parametrize(("body", "weights"), BODIES.values(), ids=BODIES.keys())
def test_each_kind_of_node_is_converted_to_a_valid_model_that_agrees(
    vector, half, x, assert_sound_child, assert_close, body, weights
):
    artifact = vector(body, **weights)
    result = half(artifact, x)
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


def test_a_network_is_converted_whole_and_agrees(network, photos, half, assert_sound_child, assert_close):
    result = half(network, photos)
    assert result.kept_float32 == {}
    assert_sound_child(result.artifact, network, "fp16")
    assert_close(network, result.artifact, photos)


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_the_batch_stays_dynamic(network, photos, half, batch):
    with Session(half(network, photos).artifact.data) as session:
        assert session.run(photos[:batch])["logits"].shape == (batch, 5)


def test_all_weights_become_float16_at_half_the_bytes(network, photos, half, weight_bytes):
    model = half(network, photos).artifact.model
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert weight_bytes(model) * 2 == weight_bytes(network.model)


def test_all_nodes_compute_in_float16(network, photos, half):
    model = half(network, photos).artifact.model
    types = element_types(model)
    computing = [node for node in model.graph.node if node.op_type != "Cast"]
    assert [node.op_type for node in computing] == [node.op_type for node in network.model.graph.node]
    for node in computing:
        assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}


def test_casts_stand_only_at_the_border(network, photos, half):
    model = half(network, photos).artifact.model
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert [(cast.input[0], cast.output[0]) for cast in casts] == [
        ("image", "image.float16"),
        ("logits.float16", "logits"),
    ]


def test_recorded_types_follow_the_values(network, photos, half):
    inferred = network.derive(onnx.shape_inference.infer_shapes(network.model), "export", "fp32")
    model = half(inferred, photos).artifact.model
    assert {info.type.tensor_type.elem_type for info in model.graph.value_info} == {TensorProto.FLOAT16}


def test_node_names_and_metadata_are_kept(change_network, photos, half):
    artifact = change_network()
    for node in artifact.model.graph.node:
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{node.name}', 'op']")
    result = half(artifact, photos).artifact.model
    kept = [(n.name, n.metadata_props[0].value) for n in result.graph.node if n.op_type != "Cast"]
    assert kept == [(n.name, f"['', '{n.name}', 'op']") for n in artifact.model.graph.node]


def test_the_scales_of_resize_stay_float32(build, photos, half, assert_sound_child, assert_close):
    artifact = build(
        """g (float[batch,3,16,16] x) => (float[batch,3,32,32] y) {
            r = Relu(x)
            y = Resize<mode="linear">(r, , scales)
        }""",
        scales=np.float32([1, 1, 2, 2]),
    )
    result = half(artifact, photos)
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, photos)
    assert result.kept_float32 == {}
    assert initializers(result.artifact.model)["scales"].data_type == TensorProto.FLOAT


OVERFLOW = "small = Relu(x) huge = Mul(small, up) back = Mul(huge, down) y = Add(back, x)"
UP_DOWN = {"up": np.float32(1e5), "down": np.float32(1e-5)}


def test_nodes_that_touch_an_overflowing_value_stay_float32_by_name(
    vector, half, x, assert_sound_child, assert_close
):
    artifact = vector(OVERFLOW, **UP_DOWN)
    result = half(artifact, x)
    largest = x.max() * 1e5
    assert result.kept_float32 == {
        "node_huge": f"huge reaches {largest:.3g}",
        "node_back": f"huge reaches {largest:.3g}",
    }
    types = element_types(result.artifact.model)
    assert types["small"] == types["y.float16"] == TensorProto.FLOAT16
    assert types["huge"] == types["back"] == TensorProto.FLOAT
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


def test_a_node_without_a_name_is_reported_by_its_value(vector, half, x):
    artifact = vector(OVERFLOW, **UP_DOWN)
    for node in artifact.model.graph.node:
        node.ClearField("name")
    assert half(artifact, x).kept_float32.keys() == {"huge", "back"}


@pytest.mark.parametrize(
    ("absmax", "kept"),
    [(HALF_MAX / HEADROOM, False), (HALF_MAX / HEADROOM * 1.01, True)],
    ids=["just below", "just above"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_needs_room_for_pictures_that_reach_further(vector, absmax, kept, sign):
    artifact = vector("r = Neg(x) y = Neg(r)")
    ends = sorted([0.0, sign * absmax])
    result = convert_to_fp16(artifact, {"r": Range(*ends)})
    assert set(result.kept_float32) == ({"node_r", "node_y"} if kept else set())


def test_a_weight_that_float16_cannot_hold_stays_float32(vector, half, x, assert_sound_child, assert_close):
    artifact = vector("tiny = Mul(x, down) y = Mul(tiny, up)", down=np.float32(1e-2), up=np.float32(-7e4))
    result = half(artifact, x * np.float32(1e-2))
    assert result.kept_float32 == {"node_y": "its weight up reaches 7e+04"}
    weights = initializers(result.artifact.model)
    assert array_of(weights["up"]) == np.float32(-7e4)
    assert weights["down.float16"].data_type == TensorProto.FLOAT16
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x * np.float32(1e-2))


def test_an_operator_without_float16_stays_float32(vector, half, x):
    body, weights = BODIES["float32-only operator"]
    result = half(vector(body, **weights), x)
    assert result.kept_float32 == {"node_r": "Range is not defined for float16"}


def test_a_custom_operator_stays_float32(vector):
    artifact = vector("z = custom.Thing(x) r = Relu(z) y = Neg(r)")
    artifact.model.graph.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    result = convert_to_fp16(artifact, {})
    assert result.kept_float32 == {"node_z": "Thing is not defined for float16"}
    operators = [node.op_type for node in result.artifact.model.graph.node]
    assert operators == ["Thing", "Cast", "Relu", "Neg", "Cast"]


def test_a_value_used_by_kept_and_converted_nodes_is_cast_once(
    vector, half, x, assert_sound_child, assert_close
):
    artifact = vector(
        """shared = Relu(x)
        huge = Mul(shared, up) back = Mul(huge, down)
        huge2 = Mul(shared, up) back2 = Mul(huge2, down)
        neg = Neg(shared) sum = Add(back, back2) y = Add(sum, neg)""",
        **UP_DOWN,
    )
    result = half(artifact, x)
    assert result.kept_float32.keys() == {"node_huge", "node_back", "node_huge2", "node_back2"}
    casts = [node for node in result.artifact.model.graph.node if node.op_type == "Cast"]
    assert [cast.output[0] for cast in casts if cast.input[0] == "shared"] == ["shared.float32"]
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


def test_a_weight_used_by_kept_and_converted_nodes_is_there_in_both_types(
    vector, half, x, assert_sound_child, assert_close
):
    artifact = vector(
        """huge = Mul(x, up) kept = Mul(huge, w) back = Mul(kept, down)
        other = Mul(x, w) y = Add(back, other)""",
        w=np.float32([1, 2, 3, 4]),
        **UP_DOWN,
    )
    result = half(artifact, x)
    weights = initializers(result.artifact.model)
    assert weights["w"].data_type == TensorProto.FLOAT
    assert weights["w.float16"].data_type == TensorProto.FLOAT16
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


@pytest.mark.parametrize(
    "body",
    ["z = Relu(x) y = Neg(z)", "z = Mul(x, up) back = Mul(z, down) y = Neg(back)"],
    ids=["converted", "kept float32"],
)
def test_an_output_that_is_also_used_inside_stays_a_float32_output(
    build, half, x, assert_sound_child, assert_close, body
):
    weights = UP_DOWN if "up" in body else {}
    artifact = build(f"g (float[batch,4] x) => (float[batch,4] y, float[batch,4] z) {{ {body} }}", **weights)
    result = half(artifact, x)
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


def test_an_integer_output_keeps_its_type(build, half, x, run, interface):
    artifact = build(
        """g (float[batch,4] x) => (float[batch,4] y, int64[batch] best) {
            y = Neg(x)
            best = ArgMax<axis=1, keepdims=0>(y)
        }"""
    )
    result = half(artifact, x).artifact
    assert interface(result.model) == interface(artifact.model)
    np.testing.assert_array_equal(run(result, x)["best"], run(artifact, x)["best"])


def test_an_input_used_several_times_is_cast_once(vector, half, x):
    model = half(vector("a = Relu(x) b = Neg(x) y = Add(a, b)"), x).artifact.model
    assert [node.input[0] for node in model.graph.node if node.op_type == "Cast"].count("x") == 1


def test_control_flow_is_refused(vector):
    artifact = vector(
        """total = ReduceSum<keepdims=0>(x)
        positive = Greater(total, zero)
        y = If(positive)<
            then_branch = yes () => (float[batch,4] t) { t = Relu(x) },
            else_branch = no () => (float[batch,4] e) { e = Neg(x) }
        >""",
        zero=np.float32(0),
    )
    with pytest.raises(ModelError, match=r"control flow \(If 'node_y'\)"):
        convert_to_fp16(artifact, {})


def test_a_value_of_unknown_type_is_refused(vector):
    with pytest.raises(ModelError, match="cannot be inferred"):
        convert_to_fp16(vector("z = custom.Thing(x) y = Relu(z)"), {})


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_older_opsets_are_converted(build, half, x, assert_sound_child, assert_close, opset):
    artifact = build(
        "g (float[batch,4] x) => (float[batch,4] y) { m = MatMul(x, w) s = Softmax(m) y = Clip(s, low) }",
        opset=opset,
        w=np.float32(np.eye(4)[::-1] + 0.1),
        low=np.float32(0.1),
    )
    result = half(artifact, x)
    assert_sound_child(result.artifact, artifact, "fp16")
    assert_close(artifact, result.artifact, x)


def test_the_input_artifact_is_not_changed(network, photos, half):
    before = network.model.SerializeToString(deterministic=True)
    half(network, photos)
    assert network.model.SerializeToString(deterministic=True) == before


def test_converting_twice_gives_the_same_bytes(network, photos, half):
    assert half(network, photos).artifact.sha256 == half(network, photos).artifact.sha256


def test_constant_of_shape_without_a_value_is_converted(vector, half, x, assert_sound_child):
    artifact = vector("s = Shape(x) zeros = ConstantOfShape(s) y = Add(x, zeros)")
    assert_sound_child(half(artifact, x).artifact, artifact, "fp16")


def test_a_scalar_weight_stays_a_scalar(vector, half, x, assert_sound_child):
    artifact = vector("v = Unsqueeze(two, axis) y = Mul(x, v)", two=np.float32(2), axis=np.array([0]))
    result = half(artifact, x).artifact
    assert list(initializers(result.model)["two.float16"].dims) == []
    assert_sound_child(result, artifact, "fp16")


def test_an_epsilon_too_small_for_float16_still_prevents_division_by_zero(vector, half, run, x):
    artifact = vector("r = Relu(x) n = Add(r, epsilon) y = Div(r, n)", epsilon=np.float32(1e-12))
    assert np.isfinite(run(half(artifact, x).artifact, x)["y"]).all()


def test_a_node_that_leaves_out_its_first_output_is_kept_by_its_own_reason(build):
    artifact = build(
        """g (float[3,batch,4] x) => (float[1,batch,2] y) {
            unused1, a = LSTM<hidden_size=2>(x, huge, recurrent)
            unused2, b = LSTM<hidden_size=2>(x, normal, recurrent)
            y = Add(a, b)
        }""",
        huge=np.full((1, 8, 4), 1e5, np.float32),
        normal=np.ones((1, 8, 4), np.float32),
        recurrent=np.ones((1, 8, 2), np.float32),
    )
    for node in artifact.model.graph.node[:2]:
        node.output[0] = ""
    assert convert_to_fp16(artifact, {}).kept_float32 == {"node_unused1": "its weight huge reaches 1e+05"}


@pytest.fixture(scope="module")
def quantized(network, photos):
    return quantize_tensorrt(network, collect_ranges(network.model, [photos]), keep_float=["excite"])


def test_what_is_float_in_an_int8_model_becomes_float16(quantized, network, photos, run, relative_error):
    mixed = convert_to_fp16(quantized, collect_ranges(network.model, [photos]))
    assert mixed.kept_float32 == {}
    onnx.checker.check_model(mixed.artifact.model, full_check=True)
    types = element_types(mixed.artifact.model)
    inside = {name for node in mixed.artifact.model.graph.node for name in node.output} - {"logits"}
    assert {types[name] for name in inside} == {TensorProto.FLOAT16, TensorProto.INT8}
    assert (mixed.artifact.stage, mixed.artifact.precision) == ("fp16", "int8")
    assert mixed.artifact.parent == quantized.sha256
    wanted = run(network, photos)["logits"]
    assert relative_error(wanted, run(mixed.artifact, photos)["logits"]) < 0.1


def test_the_integers_of_an_int8_model_are_kept(quantized, network, photos):
    mixed = convert_to_fp16(quantized, collect_ranges(network.model, [photos])).artifact
    before, after = initializers(quantized.model), initializers(mixed.model)
    names = [name for name in before if before[name].data_type == TensorProto.INT8]
    assert names
    for name in names:
        np.testing.assert_array_equal(array_of(after[name]), array_of(before[name]))


def test_pairs_of_an_old_opset_stay_float32_by_name(build, x, run):
    artifact = build(
        "g (float[batch,4] x) => (float[batch,4] y) { y = MatMul(x, w) }",
        opset=17,
        w=np.eye(4, dtype=np.float32),
    )
    quantized = quantize_tensorrt(artifact, {"x": Range(-4, 4)})
    mixed = convert_to_fp16(quantized, {})
    onnx.checker.check_model(mixed.artifact.model, full_check=True)
    assert "dequantize/x" in mixed.kept_float32
    np.testing.assert_allclose(run(mixed.artifact, x)["y"], run(quantized, x)["y"], rtol=1e-2)


def test_a_pair_whose_scale_would_vanish_stays_float32_by_name(vector, x, run):
    artifact = vector("y = MatMul(x, w)", w=np.eye(4, dtype=np.float32))
    quantized = quantize_tensorrt(artifact, {"x": Range(-1e-7, 1e-7)})
    mixed = convert_to_fp16(quantized, {})
    onnx.checker.check_model(mixed.artifact.model, full_check=True)
    assert set(mixed.kept_float32) == {"quantize/x", "dequantize/x", "node_y"}
    assert "x.scale would lose digits" in mixed.kept_float32["quantize/x"]
    assert_reads_pairs(mixed.artifact.model, "node_y")


def test_a_layer_whose_input_overflows_float16_stays_int8_beside_float32(vector):
    artifact = vector("h = Relu(x) y = MatMul(h, w)", w=np.eye(4, dtype=np.float32) / 1000)
    quantized = quantize_tensorrt(artifact, {"h": Range(0, 1e5)})
    mixed = convert_to_fp16(quantized, {"h": Range(0, 1e5)})
    onnx.checker.check_model(mixed.artifact.model, full_check=True)
    assert set(mixed.kept_float32) == {"node_h", "quantize/h", "dequantize/h", "node_y"}
    assert_reads_pairs(mixed.artifact.model, "node_y")


def assert_reads_pairs(model, name):
    """No cast stands between a layer and its Q/DQ pairs."""
    made_by = makers(model)
    layer = next(node for node in model.graph.node if node.name == name)
    assert {made_by[value].op_type for value in layer.input} == {"DequantizeLinear"}


def test_a_pair_that_float32_and_float16_read_is_there_in_both(vector):
    artifact = vector(
        "a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b)",
        w=np.eye(4, dtype=np.float32),
        v=-np.eye(4, dtype=np.float32),
    )
    quantized = quantize_tensorrt(artifact, {"x": Range(-4, 4)})
    mixed = convert_to_fp16(quantized, {"a": Range(0, 6e4)}).artifact.model
    onnx.checker.check_model(mixed, full_check=True)
    for name in ("node_a", "node_b"):
        assert_reads_pairs(mixed, name)
