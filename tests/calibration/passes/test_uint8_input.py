"""Normalization in the graph: the same answers to the same pictures, whatever the first layers are."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from PIL import Image

from edgeproof.calibration.onnx_graph.graph import array_of, initializers
from edgeproof.calibration.onnx_graph.shapes import input_of
from edgeproof.calibration.passes import fp16, uint8_input
from edgeproof.calibration.passes.uint8_request import Uint8Request, served_preprocess
from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.runtime.bundle.preprocess import INTERPOLATIONS, Preprocess
from edgeproof.runtime.errors import InputError, ModelError


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


def convert_to_fp16(artifact, ranges):
    return artifact.derive(fp16.convert_to_fp16(artifact.model, ranges).model, "fp16", "fp16")


def with_uint8_input(artifact, *arguments):
    model = uint8_input.with_uint8_input(artifact.model, *arguments)
    return artifact.derive(model, "uint8-input", artifact.precision)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAINED = Preprocess(resize=None, crop=(16, 16), mean=MEAN, std=STD)
GRAY = Preprocess(resize=None, crop=(16, 16), mean=(0.3,), std=(0.2,), color="gray")
PADDED, PLAIN = "conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)", "conv = Conv(image, conv_w, conv_b)"


@pytest.fixture(scope="module")
def frames():
    """Twelve pictures, shape (12, 16, 16, 3)."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (12, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(coarse + random.integers(-9, 10, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def floats(frames):
    """The same as the network was trained on them."""
    return np.stack([TRAINED.normalized(frame) for frame in frames])


def operators(artifact):
    return [node.op_type for node in artifact.model.graph.node]


def deviation(wanted, got):
    """Largest difference, in standard deviations of the output."""
    return np.abs(wanted.astype(np.float64) - got).max() / wanted.std()


def served(artifact, channels=None, trained=TRAINED):
    return with_uint8_input(artifact, trained, served_preprocess(Uint8Request(channels), trained))


@pytest.mark.parametrize("channels", [None, "rgb", "bgr"])
@pytest.mark.parametrize(
    ("first", "front"),
    [
        (PADDED, ["Cast", "Transpose", "Sub", "Conv"]),
        (PLAIN, ["Cast", "Transpose", "Conv"]),
        ("conv = Conv<pads=[0,0,0,0], strides=[2,2]>(image, conv_w)", ["Cast", "Transpose", "Conv"]),
        ('conv = Conv<auto_pad="VALID">(image, conv_w, conv_b)', ["Cast", "Transpose", "Conv"]),
        ('conv = Conv<auto_pad="SAME_UPPER">(image, conv_w)', ["Cast", "Transpose", "Sub", "Conv"]),
    ],
)
def test_folds_keep_the_answers(change_network, run, frames, floats, first, front, channels):
    network = change_network(PADDED, first)
    shipped = served(network, channels)
    onnx.checker.check_model(shipped.model, full_check=True)
    assert operators(shipped)[: len(front)] == front
    given_frames = frames[..., ::-1].copy() if channels == "bgr" else frames
    for name, wanted in run(network, floats).items():
        assert deviation(wanted, run(shipped, given_frames)[name]) < 1e-5


def test_a_fold_of_the_offset_into_a_padded_convolution_would_be_seen(change_network, run, frames, floats):
    """The test above can fail: a border of zeros is a border of mean colour, and no longer if it is moved."""
    padded, plain = change_network(), change_network(PADDED, PLAIN)
    shipped = served(plain)
    convolution = next(node for node in shipped.model.graph.node if node.op_type == "Conv")
    convolution.attribute.append(onnx.helper.make_attribute("pads", [1, 1, 1, 1]))
    wanted = run(padded, floats)["logits"]
    assert deviation(wanted, run(shipped, frames)["logits"]) > 1e-2


@pytest.mark.parametrize(
    "first",
    [
        "twice = Add(image, image) conv = Conv<pads=[1,1,1,1]>(twice, conv_w, conv_b)",
        f"{PADDED} other = Identity(image)",
        "conv_v = Mul(conv_w, two) conv = Conv<pads=[1,1,1,1]>(image, conv_v, conv_b)",
        "bias = Mul(conv_b, two) conv = Conv<pads=[1,1,1,1]>(image, conv_w, bias)",
    ],
)
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_where_nothing_can_be_folded_the_nodes_stay(change_network, run, frames, floats, first, channels):
    network = change_network(PADDED, first, two=np.float32(2))
    shipped = served(network, channels)
    onnx.checker.check_model(shipped.model, full_check=True)
    assert {"Sub", "Mul"} <= set(operators(shipped))
    given_frames = frames[..., ::-1].copy() if channels == "bgr" else frames
    wanted = run(network, floats)["logits"]
    assert deviation(wanted, run(shipped, given_frames)["logits"]) < 1e-5


def test_convolutions_in_groups_keep_their_weights(build, run, rng):
    weights = rng(5).standard_normal((6, 1, 3, 3)).astype(np.float32)
    network = build(
        "g (float[batch,3,16,16] image) => (float[batch,6,14,14] y) { y = Conv<group=3>(image, w) }",
        w=weights,
    )
    pixels = rng(6).integers(0, 256, (2, 16, 16, 3), np.uint8)
    shipped = served(network, "bgr")
    assert operators(shipped) == ["Cast", "Transpose", "Sub", "Mul", "Gather", "Conv"]
    wanted = run(network, np.stack([TRAINED.normalized(frame) for frame in pixels]))["y"]
    assert deviation(wanted, run(shipped, pixels[..., ::-1].copy())["y"]) < 1e-5


def test_weights_that_others_read_stay_as_they_are(build, run, rng):
    weights = rng(5).standard_normal((3, 3, 3, 3)).astype(np.float32)
    text = """g (float[batch,3,16,16] image) => (float[batch,3,12,12] y) {
        first = Conv(image, w)  y = Conv(first, w)
    }"""
    network = build(text, w=weights)
    shipped = served(network)
    assert np.array_equal(array_of(initializers(shipped.model)["w"]), weights)
    pixels = rng(6).integers(0, 256, (2, 16, 16, 3), np.uint8)
    wanted = run(network, np.stack([TRAINED.normalized(frame) for frame in pixels]))["y"]
    assert deviation(wanted, run(shipped, pixels)["y"]) < 1e-5


@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 1)] * 3),
    padded=st.booleans(),
    swapped=st.booleans(),
)
@settings(max_examples=20)
def test_any_normalization_is_kept(change_network, run, frames, mean, std, padded, swapped):
    trained = Preprocess(resize=None, crop=(16, 16), mean=mean, std=std)
    network = change_network(PADDED, PADDED if padded else PLAIN)
    wanted = run(network, np.stack([trained.normalized(frame) for frame in frames]))["logits"]
    shipped = served(network, "bgr" if swapped else "rgb", trained)
    got = run(shipped, frames[..., ::-1].copy() if swapped else frames)["logits"]
    assert deviation(wanted, got) < 1e-5


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_float16_sees_the_values_that_it_was_proven_on(network, run, frames, floats, channels):
    half = convert_to_fp16(network, collect_ranges(network.model, [floats]))
    shipped = served(half, channels)
    assert operators(shipped)[:5] == ["Cast", "Transpose", "Sub", "Mul", "Cast"]
    assert "Gather" not in operators(shipped), "the swap is in the weights"
    assert (shipped.stage, shipped.precision, shipped.parent) == ("uint8-input", "fp16", half.sha256)
    given_frames = frames[..., ::-1].copy() if channels == "bgr" else frames
    wanted = run(half, floats)["logits"]
    assert deviation(wanted, run(shipped, given_frames)["logits"]) < 2e-3  # one unit of float16's last place


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_int8_rounds_the_values_that_it_was_proven_on(network, run, frames, floats, channels):
    int8 = quantize_tensorrt(network, collect_ranges(network.model, [floats]))
    shipped = served(int8, channels)
    assert operators(shipped)[:5] == ["Cast", "Transpose", "Sub", "Mul", "QuantizeLinear"]
    assert "Gather" not in operators(shipped), "the swap is in the weights"
    kinds = [tensor.data_type for tensor in shipped.model.graph.initializer]
    assert kinds.count(TensorProto.INT8) == [t.data_type for t in int8.model.graph.initializer].count(
        TensorProto.INT8
    )
    given_frames = frames[..., ::-1].copy() if channels == "bgr" else frames
    assert deviation(run(int8, floats)["logits"], run(shipped, given_frames)["logits"]) < 1e-5


def test_grey_pictures_have_one_channel(build, run, rng):
    text = "g (float[batch,1,16,16] image) => (float[batch,4,14,14] y) { y = Conv(image, w) }"
    network = build(text, w=rng(5).standard_normal((4, 1, 3, 3)).astype(np.float32))
    shipped = served(network, trained=GRAY)
    pixels = rng(6).integers(0, 256, (2, 16, 16, 1), np.uint8)
    wanted = run(network, np.stack([GRAY.normalized(frame) for frame in pixels]))["y"]
    assert deviation(wanted, run(shipped, pixels)["y"]) < 1e-5
    with pytest.raises(InputError, match="one channel"):
        served(network, "bgr", GRAY)


@pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")
@pytest.mark.parametrize("first", [PADDED, PLAIN])
def test_the_compiler_takes_every_precision(change_network, floats, first):
    network = change_network(PADDED, first)
    ranges = collect_ranges(network.model, [floats])
    made = [network, convert_to_fp16(network, ranges), quantize_tensorrt(network, ranges)]
    for artifact in made:
        result = preflight(served(artifact, "bgr").data)
        assert result, str(result)


def test_what_cannot_be_turned(build, network):
    flat = build("g (float[batch,4] x) => (float[batch,4] y) { y = Relu(x) }")
    for artifact in (flat, served(network)):
        with pytest.raises(ModelError, match="cannot be turned into uint8"):
            served(artifact)
    with pytest.raises(ModelError, match=r"\(N, 1, height, width\)"):
        served(network, trained=GRAY)


# --- frames that are resized in the graph -----------------------------------------------------------

SOURCES = [((40, 60), 18), ((16, 16), 16), ((12, 70), (20, 14)), ((9, 13), None)]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("source", "resize"), SOURCES)
def test_frames_are_resized_as_pillow_does_it(build, run, source, resize, interpolation):
    """Of a network that does nothing the answers are the pixels, but for Pillow's two roundings to 8 bits."""
    trained = Preprocess(resize, (16, 16), (0.0,) * 3, (1 / 255,) * 3, interpolation)
    network = build("g (float[batch,3,16,16] x) => (float[batch,3,16,16] y) { y = Identity(x) }")
    shipped = with_uint8_input(network, trained, trained.for_pixels("bgr", source))
    onnx.checker.check_model(shipped.model, full_check=True)
    frames = np.random.default_rng(1).integers(0, 256, (3, *source, 3), np.uint8)
    wanted = np.stack([np.asarray(trained.pixels(Image.fromarray(frame))) for frame in frames])
    got = run(shipped, frames[..., ::-1].copy())["y"].transpose(0, 2, 3, 1)
    difference = np.abs(got - wanted)
    assert difference.max() < (1.6 if interpolation in ("bicubic", "lanczos") else 1.01)
    assert difference.mean() < 0.5
    if interpolation == "nearest" or (source, resize) == ((16, 16), 16):
        assert difference.max() < 1e-3


@pytest.mark.parametrize("first", [PADDED, PLAIN])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_what_follows_the_resizing_is_folded_as_ever(change_network, first, channels):
    trained = replace(TRAINED, resize=18)
    served = served_preprocess(Uint8Request(channels, (30, 40)), trained)
    shipped = with_uint8_input(change_network(PADDED, first), trained, served)
    resizing = ["Cast", "Transpose", "MatMul", "Transpose", "MatMul"]
    assert operators(shipped)[:6] == [*resizing, "Sub" if first == PADDED else "Conv"]
    assert input_of(shipped.model).shape == ("batch", 30, 40, 3)
    assert find_quantized_inputs(shipped.model)[0].node == "conv", (
        "no quantizer takes the products for layers"
    )


@pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_compiler_takes_the_resizing(network, interpolation):
    trained = replace(TRAINED, resize=18, interpolation=interpolation)
    shipped = with_uint8_input(network, trained, trained.for_pixels("bgr", (30, 40)))
    result = preflight(shipped.data)
    assert result, str(result)
