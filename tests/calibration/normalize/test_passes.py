import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.normalize.passes import NEWEST_OPSET, OLDEST_OPSET, normalize
from edgeproof.calibration.onnx_graph.graph import array_of, element_types, initializers, opset
from edgeproof.calibration.qdq import cpu, tensorrt
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.runtime.errors import ModelError


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


def quantize_cpu(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(cpu.quantize_cpu(artifact.model, *arguments, **options), "int8", "int8")


IMAGES = "g (float[{batch},3,{side},{side}] image) => (float[{batch},{classes}] y) {{ {body} }}"
NORM = "BatchNormalization(c, scale, shift, mean, variance)"
HEAD = "p = GlobalAveragePool({}) y = Flatten(p)"


@pytest.fixture(scope="module")
def images(rng):
    return rng(3).standard_normal((4, 3, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def normal(rng):
    """Small random weights of a shape, of the given seed."""
    return lambda seed, *shape: (rng(seed).standard_normal(shape) * 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def weights(normal, rng):
    return {
        "w": normal(1, 6, 3, 3, 3),
        "b": normal(2, 6),
        "scale": normal(3, 6) + 1,
        "shift": normal(4, 6),
        "mean": normal(5, 6),
        "variance": rng(6).uniform(0.2, 3, 6).astype(np.float32),
        "v": normal(7, 6, 6, 1, 1),
        "head": normal(8, 6, 5),
        "head_b": normal(9, 5),
    }


@pytest.fixture(scope="module")
def imaging(build, weights):
    """A model over images, with those of the weights that its text names."""

    def imaging(body, *, opset=20, batch="batch", side="8", classes=6, **more):
        text = IMAGES.format(batch=batch, side=side, classes=classes, body=body)
        names = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
        return build(text, opset=opset, **{k: v for k, v in {**weights, **more}.items() if k in names}).model

    return imaging


@pytest.fixture(scope="module")
def answers(run):
    return lambda model, batch: run(OnnxArtifact(model, "test"), batch)


@pytest.fixture(scope="module")
def assert_same(answers, interface):
    """Asserts that a normalized model is valid, looks the same, and answers the same; returns it."""

    def assert_same(model, batch):
        before = model.SerializeToString(deterministic=True)
        result = normalize(model)
        assert model.SerializeToString(deterministic=True) == before
        onnx.checker.check_model(result, full_check=True)
        element_types(result)
        names = set(initializers(model))
        inputs = [found for found in interface(model) if found[0] not in names]
        assert interface(result) == inputs
        wanted, got = answers(model, batch), answers(result, batch)
        for name in wanted:
            np.testing.assert_allclose(got[name], wanted[name], rtol=1e-4, atol=1e-5)
        return result

    return assert_same


@pytest.fixture(scope="module")
def kinds():
    return lambda model: [node.op_type for node in model.graph.node]


def test_a_batch_norm_goes_into_its_convolution(imaging, assert_same, images, kinds):
    for bias in (", b", ""):
        model = imaging(f"c = Conv<pads=[1,1,1,1]>(image, w{bias}) n = {NORM} r = Relu(n) {HEAD.format('r')}")
        result = assert_same(model, images)
        assert kinds(result) == ["Conv", "Relu", "GlobalAveragePool", "Flatten"]
        assert len(initializers(result)) == 2


def test_a_batch_norm_goes_into_a_matrix_product(imaging, assert_same, images, kinds):
    body = "p = GlobalAveragePool(image) f = Flatten(p) c = Gemm{}(f, w, b) y = {}"
    for attributes, shape in (("", (3, 6)), ("<transB=1>", (6, 3))):
        weight = np.linspace(-1, 1, 18, dtype=np.float32).reshape(shape)
        model = imaging(body.format(attributes, NORM), w=weight)
        assert kinds(assert_same(model, images)) == ["GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize(
    "body",
    [
        f"r = Conv(image, w) c = Relu(r) n = {NORM} {HEAD.format('n')}",
        f"c = Conv(image, w) n = {NORM} s = Add(n, c) {HEAD.format('s')}",
        "p = GlobalAveragePool(image) f = Flatten(p) c = Gemm<alpha=0.5>(f, m, b) y = " + NORM,
    ],
    ids=["behind an activation", "its input is read elsewhere", "scaled product"],
)
def test_a_batch_norm_that_cannot_be_folded_stays(imaging, assert_same, images, kinds, normal, body):
    assert "BatchNormalization" in kinds(assert_same(imaging(body, m=normal(1, 3, 6)), images))


def test_shared_weights_may_have_two_batch_norms(imaging, assert_same, images, kinds, normal):
    model = imaging(
        f"a = Conv(image, k) c = Conv(a, v) n = {NORM} d = Conv(n, v) "
        f"o = BatchNormalization(d, shift, scale, mean, variance) {HEAD.format('o')}",
        k=normal(2, 6, 3, 1, 1),
    )
    assert kinds(assert_same(model, images)) == ["Conv", "Conv", "Conv", "GlobalAveragePool", "Flatten"]


def test_shared_weights_become_two(imaging, assert_same, images, normal):
    model = imaging(
        f"a = Conv(image, k) c = Conv(a, v) d = Conv(c, v) {HEAD.format('d')}", k=normal(2, 6, 3, 1, 1)
    )
    result = assert_same(model, images)
    read = [node.input[1] for node in result.graph.node if node.op_type == "Conv"]
    assert len(set(read)) == 3
    np.testing.assert_array_equal(*(array_of(initializers(result)[name]) for name in read[1:]))


CONSTANTS = {
    "Constant nodes": "k = Constant<value = float[1] {2.0}>() c = Conv(image, w) m = Mul(c, k) ",
    "float constants": "k = Constant<value_float = 2.0>() c = Conv(image, w) m = Mul(c, k) ",
    "Identity of a weight": "i = Identity(w) m = Conv(image, i) ",
    "Identity of an Identity": "i = Identity(w) j = Identity(i) m = Conv(image, j) ",
    "arithmetic on weights": "two = Constant<value_float = 2.0>() i = Mul(w, two) m = Conv(image, i) ",
    "a weight that is reshaped": "f = Transpose<perm=[0,1,3,2]>(w) m = Conv(image, f) ",
}


@pytest.mark.parametrize("body", CONSTANTS.values(), ids=CONSTANTS)
def test_what_is_computed_from_constants_becomes_an_initializer(imaging, assert_same, images, kinds, body):
    result = assert_same(imaging(body + HEAD.format("m")), images)
    assert not {"Constant", "Identity", "Transpose"} & set(kinds(result))
    assert len(find_quantized_inputs(result)) == 2


def test_identities_and_dropout_are_taken_out(imaging, assert_same, images, kinds):
    model = imaging(f"i = Identity(image) c = Conv(i, w) d = Dropout(c) e = Identity(d) {HEAD.format('e')}")
    assert kinds(assert_same(model, images)) == ["Conv", "GlobalAveragePool", "Flatten"]


def test_an_identity_that_makes_an_output_stays(imaging, assert_same, images):
    assert_same(imaging("c = Conv(image, w) p = GlobalAveragePool(c) f = Flatten(p) y = Identity(f)"), images)


def test_what_no_output_needs_is_dropped(imaging, assert_same, images, kinds):
    model = imaging(f"c = Conv(image, w) idle = Conv(c, v) {HEAD.format('c')}")
    result = assert_same(model, images)
    assert kinds(result).count("Conv") == 1
    assert set(initializers(result)) == {"w"}


@pytest.mark.parametrize("order", ["m, head_b", "head_b, m"])
@pytest.mark.parametrize("shape", [(5,), (1, 5)])
def test_a_fully_connected_layer_becomes_gemm(imaging, assert_same, images, kinds, normal, order, shape):
    model = imaging(
        f"c = Conv(image, w) p = GlobalAveragePool(c) f = Flatten(p) m = MatMul(f, head) y = Add({order})",
        classes=5,
        head_b=normal(9, 5).reshape(shape),
    )
    assert kinds(assert_same(model, images))[-1] == "Gemm"


@pytest.mark.parametrize(
    "body",
    [
        "f = Flatten(image) m = MatMul(f, big) r = Relu(m) s = Add(m, r) y = Add(s, head_b)",
        "f = Flatten(image) m = MatMul(f, big) y = Add(m, wide)",
        "r = Reshape(image, rows) m = MatMul(r, small) s = Add(m, head_b) y = ReduceMean<keepdims=0>(s, one)",
    ],
    ids=["product is read elsewhere", "a number for all", "more than a matrix"],
)
def test_another_addition_stays(imaging, assert_same, images, kinds, normal, body):
    model = imaging(
        body,
        classes=5,
        big=normal(1, 192, 5),
        small=normal(2, 8, 5),
        wide=np.float32(2),
        rows=np.array([0, 24, 8]),
        one=np.array([1]),
    )
    assert "Gemm" not in kinds(assert_same(model, images))


@pytest.mark.parametrize("version", [7, 9, 11, 12, 13, 17, 18])
def test_older_opsets_are_raised_and_can_then_be_quantized(imaging, assert_same, images, version):
    model = imaging(f"c = Conv(image, w, b) n = {NORM} r = Relu(n) {HEAD.format('r')}", opset=version)
    result = assert_same(model, images)
    assert opset(result) == OLDEST_OPSET
    artifact = OnnxArtifact(result, "normalize")
    ranges = collect_ranges(result, [images])
    for quantize in (quantize_tensorrt, quantize_cpu):
        onnx.checker.check_model(quantize(artifact, ranges).model, full_check=True)


@pytest.mark.parametrize("version", [OLDEST_OPSET, 20, 22])
def test_current_opsets_are_left(imaging, assert_same, images, version):
    model = imaging(f"c = Conv(image, w, b) {HEAD.format('c')}", opset=version)
    assert opset(assert_same(model, images)) == version


def test_opsets_that_are_too_new_are_refused(imaging):
    model = imaging(f"c = Conv(image, w, b) {HEAD.format('c')}")
    model.opset_import[0].version = NEWEST_OPSET + 1
    with pytest.raises(ModelError, match=f"(?s)opset is newer.*wanted: +opset {NEWEST_OPSET}"):
        normalize(model)


def test_weights_listed_as_inputs_are_constants(imaging, assert_same, images):
    model = imaging(f"c = Conv(image, w, b) n = {NORM} {HEAD.format('n')}", opset=8)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    result = assert_same(model, images)
    assert [found.name for found in result.graph.input] == ["image"]


def test_stale_shapes_are_forgotten_and_new_ones_inferred(imaging, assert_same, images):
    model = imaging(f"c = Conv(image, w, b) {HEAD.format('c')}")
    model.graph.value_info.append(helper.make_tensor_value_info("gone", TensorProto.FLOAT, [1, 2]))
    recorded = {info.name: info for info in assert_same(model, images).graph.value_info}
    assert set(recorded) == {"c", "p"}
    assert [axis.dim_value for axis in recorded["c"].type.tensor_type.shape.dim][1:] == [6, 6, 6]


def test_dynamic_height_and_width_stay(imaging, assert_same, images):
    model = imaging(f"c = Conv(image, w, b) n = {NORM} {HEAD.format('n')}", side="side")
    result = assert_same(model, images)
    assert_same(result, images[:, :, :6, :6])


def test_a_fixed_batch_stays(imaging, assert_same, images):
    assert_same(imaging(f"c = Conv(image, w, b) {HEAD.format('c')}", batch="2"), images[:2])


def test_a_final_softmax_stays(imaging, assert_same, images, kinds):
    model = imaging("c = Conv(image, w) p = GlobalAveragePool(c) f = Flatten(p) y = Softmax<axis=1>(f)")
    assert kinds(assert_same(model, images))[-1] == "Softmax"


def test_bytes_in_the_layout_of_pictures_are_kept_and_quantized(
    build, weights, rng, assert_same, run, relative_error
):
    model = build(
        """g (uint8[batch,8,8,3] image) => (float[batch,6] y) {
            f = Cast<to=1>(image) s = Div(f, full) t = Transpose<perm=[0,3,1,2]>(s)
            c = Conv(t, w, b) n = BatchNormalization(c, scale, shift, mean, variance) r = Relu(n)
            p = GlobalAveragePool(r) y = Flatten(p)
        }""",
        full=np.float32(255),
        **{name: values for name, values in weights.items() if name not in ("v", "head", "head_b")},
    ).model
    pictures = rng(4).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    artifact = OnnxArtifact(assert_same(model, pictures), "normalize")
    ranges = collect_ranges(artifact.model, [pictures])
    wanted = run(artifact, pictures)["y"]
    for quantize in (quantize_tensorrt, quantize_cpu):
        result = quantize(artifact, ranges)
        onnx.checker.check_model(result.model, full_check=True)
        assert relative_error(wanted, run(result, pictures)["y"]) < 0.05


def test_functions_of_the_model_are_written_out(images, answers, weights):
    model = parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "own": 1]>
        g (float[batch,3,8,8] image) => (float[batch,6,6,6] y) { y = own.block(image, w, b) }
        <domain: "own", opset_import: ["": 20]>
        block (x, w, b) => (z) { c = Conv(x, w, b) z = Relu(c) }"""
    )
    model.graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in ("w", "b"))
    result = normalize(model)
    assert len(find_quantized_inputs(result)) == 2
    np.testing.assert_array_equal(answers(result, images)["y"], answers(model, images)["y"])


def test_the_networks_of_the_house_are_in_that_form(network, photos, assert_same, kinds):
    result = assert_same(network.model, photos)
    assert kinds(result) == kinds(network.model)
    assert [n.name for n in result.graph.node] == [n.name for n in network.model.graph.node]
    assert set(initializers(result)) == set(initializers(network.model))


def test_normalizing_twice_changes_nothing(imaging):
    once = normalize(
        imaging(f"i = Identity(w) c = Conv(image, i, b) n = {NORM} {HEAD.format('n')}", opset=11)
    )
    assert normalize(once).SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)


LAYERS = {
    "conv": "{y} = Conv<pads=[1,1,1,1]>({x}, {p}_k) ",
    "conv with bias": "{y} = Conv<pads=[1,1,1,1]>({x}, {p}_k, {p}_b) ",
    "shared": "{y} = Conv<pads=[1,1,1,1]>({x}, shared_k) ",
    "depthwise": "{y} = Conv<pads=[1,1,1,1], group=3>({x}, {p}_d) ",
    "norm": "{y} = BatchNormalization({x}, {p}_b, {p}_b, {p}_b, positive) ",
    "relu": "{y} = Relu({x}) ",
    "identity": "{y} = Identity({x}) ",
    "dropout": "{y} = Dropout({x}) ",
    "residual": "{y} = Add({x}, start) ",
    "scaled": "{y}_c = Constant<value_float = 0.5>() {y} = Mul({x}, {y}_c) ",
}


@settings(max_examples=40)
@given(
    layers=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=7),
    version=st.sampled_from([12, 15, 20]),
)
def test_random_networks_answer_as_before(build, normal, assert_same, images, layers, version):
    body, value = "start = Conv<pads=[1,1,1,1]>(image, shared_k) ", "start"
    tensors = {"shared_k": normal(1, 3, 3, 3, 3), "positive": np.float32([0.5, 1, 2])}
    for i, layer in enumerate(layers):
        body += LAYERS[layer].format(x=value, y=f"v{i}", p=f"p{i}")
        value = f"v{i}"
        tensors |= {
            f"p{i}_k": normal(10 + i, 3, 3, 3, 3),
            f"p{i}_b": normal(20 + i, 3),
            f"p{i}_d": normal(30 + i, 3, 1, 3, 3),
        }
    text = IMAGES.format(batch="batch", side="8", classes=3, body=body + HEAD.format(value))
    used = {name: values for name, values in tensors.items() if name in text}
    assert_same(build(text, opset=version, **used).model, images)


def test_a_model_that_is_not_valid_is_refused(imaging):
    model = imaging(f"c = Conv(image, w) {HEAD.format('c')}")
    model.graph.node[0].op_type = "Convolution"
    with pytest.raises(ModelError, match=r"(?s)not valid ONNX.*Convolution"):
        normalize(model)


def test_control_flow_is_refused_by_name(vector):
    artifact = vector(
        """s = ReduceSum<keepdims=0>(x) p = Greater(s, zero)
        y = If(p)<
            then_branch = yes () => (float[batch,4] t) { t = Relu(x) },
            else_branch = no () => (float[batch,4] e) { e = Neg(x) }
        >""",
        zero=np.float32(0),
    )
    with pytest.raises(ModelError, match=r"control flow \(If 'node_y'\)"):
        normalize(artifact.model)


def test_a_quantized_model_is_refused(vector):
    model = vector("q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)", s=np.float32(1)).model
    with pytest.raises(ModelError, match="quantized already"):
        normalize(model)


@pytest.mark.parametrize("where", ["initializer", "constant", "variance"])
def test_weights_that_are_not_finite_are_refused_wherever_they_stand(imaging, weights, where):
    body, more = f"c = Conv(image, w) n = {NORM} {HEAD.format('n')}", {}
    if where == "initializer":
        more = {"w": np.full_like(weights["w"], np.nan)}
    elif where == "variance":
        more = {"variance": -weights["variance"]}
    else:
        body = f"k = Log(minus) a = Mul(image, k) c = Conv(a, w) {HEAD.format('c')}"
        more = {"minus": np.float32(-1)}
    with pytest.raises(ModelError, match="holds NaN or Inf"):
        normalize(imaging(body, **more))
