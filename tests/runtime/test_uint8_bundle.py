"""A model that takes pixels: what reaches it, and what is refused."""

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeproof.runtime import verify
from edgeproof.runtime.bench.bench import BenchmarkPlan, bench
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import BundleError, TensorError
from edgeproof.runtime.inference.runner import BadFrame, Prediction, Runner
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.records import decode, encode
from edgeproof.runtime.sources.frames import Frame
from edgeproof.runtime.testing import FakeCamera, FakeSession, fake_bundle, memory

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# --- preprocessing ----------------------------------------------------------------------------------


@given(
    st.integers(0, 2**16),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["rgb", "bgr", "gray"]),
    st.sampled_from([None, 9, (7, 12)]),
    st.sampled_from([None, (8, 8)]),
)
@settings(max_examples=100)
def test_the_pixels_are_those_that_the_floats_were_made_of(seed, height, width, color, resize, crop):
    image = Image.fromarray(noise(height, width, 3, seed=seed))
    channels = 1 if color == "gray" else 3
    trained = Preprocess(resize, crop, MEAN[:channels], STD[:channels], color=color)
    pixels = trained.for_pixels()(image)
    wanted = np.asarray(trained.pixels(image)).reshape(*pixels.shape)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, wanted[..., ::-1] if color == "bgr" else wanted)
    assert np.array_equal(trained.normalized(pixels), trained(image)), "bit for bit"


def test_the_order_of_channels_is_that_of_mean_and_std_too():
    trained = Preprocess(None, (8, 8), MEAN, STD)
    swapped = trained.for_pixels("bgr")
    assert (swapped.color, swapped.mean, swapped.std) == ("bgr", MEAN[::-1], STD[::-1])
    assert (swapped.dtype, swapped.layout) == ("uint8", "NHWC")
    image = Image.fromarray(noise(8, 8, 3))
    assert np.array_equal(swapped(image), trained.for_pixels()(image)[..., ::-1])


@pytest.mark.parametrize(
    ("resize", "crop", "fits"),
    [
        (None, None, True),
        (8, (8, 10), True),
        ((8, 10), None, True),
        (8, (8, 8), False),
        (9, (8, 10), False),
        ((8, 8), None, False),
    ],
)
def test_only_a_picture_that_needs_no_work_is_taken_as_it_is(resize, crop, fits):
    served = Preprocess(resize, crop, MEAN, STD).for_pixels()
    assert served.takes_as_it_is(8, 10) == fits
    assert not Preprocess(resize, crop, MEAN, STD).takes_as_it_is(8, 10)


@pytest.mark.parametrize(
    ("size", "color"), [((30, 40), "rgb"), ((60, 80), "rgb"), ((9, 50), "bgr"), ((50, 9), "gray")]
)
def test_pictures_are_brought_to_the_size_of_the_cameras_frames(size, color):
    channels = 1 if color == "gray" else 3
    trained = Preprocess(16, (12, 12), MEAN[:channels], STD[:channels], color=color)
    served = trained.for_pixels(None, (30, 40))
    image = Image.fromarray(noise(*size, 3))
    assert served(image).shape == (30, 40, channels)
    assert served.size == (30, 40)
    if size == (30, 40):
        assert np.array_equal(served(image), np.asarray(image)), "a frame of that size stays as it is"
    assert served.takes_as_it_is(*size) == (size == (30, 40))


def test_a_source_is_for_pixels_and_has_sides():
    trained = Preprocess(16, (12, 12), MEAN, STD)
    with pytest.raises(ValueError, match="takes uint8"):
        dataclasses.replace(trained, source=(30, 40))
    with pytest.raises(ValueError, match="between 1 and"):
        trained.for_pixels(None, (0, 40))
    served = trained.for_pixels("bgr", (30, 40))
    assert decode(Preprocess, encode(served)) == served


# --- a bundle of pixels -----------------------------------------------------------------------------

COLOURS = np.array(
    [[0.04, -0.02, -0.02, -0.02], [-0.02, 0.04, -0.02, -0.02], [-0.02, -0.02, 0.04, -0.02]], np.float32
)


def pixel_model():
    """From the mean of each channel of a picture, (N, 8, 8, 3), to a score for each label."""
    nodes = [
        helper.make_node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["planes"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(COLOURS, "weights"),
            numpy_helper.from_array(np.array([0, 0, 0, 2], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def pixel_folder(write_bundle, replace_file, edit_manifest, npz, tmp_path):
    """A bundle like `bundle_folder`, whose models take pixels."""
    folder = write_bundle(tmp_path / "pixels")
    frames = noise(6, 1, 1, 3).repeat(8, axis=1).repeat(8, axis=2)
    answers = frames.mean(axis=(1, 2), dtype=np.float64) @ COLOURS + [0, 0, 0, 2]
    for precision in ("fp32", "fp16"):
        replace_file(folder, f"model.{precision}.onnx", pixel_model())
    replace_file(folder, "golden.npz", npz(input=frames, output=answers.astype(np.float32)))

    def change(manifest):
        manifest["input"].update(shape=["batch", 8, 8, 3], dtype="uint8")
        manifest["preprocess"].update(layout="NHWC", dtype="uint8")

    edit_manifest(folder, change)
    return folder


def test_pictures_get_their_labels_in_streams_and_batches(pixel_folder, colours, paint, tmp_path):
    for label in ("red", "green", "blue", "dark"):
        paint(tmp_path / f"{label}.png", label)
    sources = [tmp_path / f"{label}.png" for label in ("red", "green", "blue", "dark")]
    with Runner.open(pixel_folder) as runner:
        found = [result.top[0].label for result in runner.stream(sources)]
        assert found == ["red", "green", "blue", "dark"]
        assert runner.predict(noise(8, 8, 3)).top


def test_it_verifies_and_is_measured(pixel_folder):
    bundle = Bundle.open(pixel_folder)
    assert verify(bundle, "fp32")
    plan = BenchmarkPlan((ProviderRequest(precision="fp32"),), batches=(1, 3), warm_up=0, duration=0.01)
    assert all(m.throughput > 0 for m in bench(bundle, plan).measurements)


def wrong_for(bundle):
    """Arrays that are no inputs of a bundle: of the other kind, and of another size."""
    spec = bundle.manifest.input
    other = "float32" if spec.dtype == "uint8" else "uint8"
    return [
        np.zeros((8, 8, 3), other),
        np.zeros((3, 8, 8), other),
        np.zeros((9, 8, 3), spec.dtype),
        np.zeros((1, *spec.shape[1:]), spec.dtype),
    ]


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_tensors_of_the_other_kind_are_bad_frames(bundle_folder, pixel_folder, kind, tmp_path):
    folder = pixel_folder if kind == "uint8" else bundle_folder
    bundle = Bundle.open(folder)
    spec = bundle.manifest.input
    good = np.zeros(spec.shape[1:], spec.dtype)
    wanted = f"{spec.dtype} of shape ({', '.join(map(str, spec.shape[1:]))})"
    with Runner.open(bundle) as runner:
        for wrong in wrong_for(bundle):
            if wrong.dtype == np.uint8 and wrong.ndim == wrong.shape[-1] == 3:
                assert runner.predict(wrong).top, "a picture in RGB"
            else:
                with pytest.raises(TensorError) as caught:
                    runner.predict(wrong)
                assert caught.value.details["wanted"] == wanted
                assert caught.value.details["got"] == f"{wrong.dtype} of shape {wrong.shape}"
            first, second = runner.stream(memory([wrong, good]))
            assert isinstance(first, BadFrame)
            assert wanted in first.error
            assert isinstance(second, Prediction), "the others go on"
        file = tmp_path / "wrong.npy"
        np.save(file, wrong_for(bundle)[1])
        (bad,) = runner.stream(str(file))
        assert isinstance(bad, BadFrame)
        assert wanted in bad.error


def test_a_manifest_whose_preprocessing_is_for_another_input_is_refused(pixel_folder, edit_manifest):
    edit_manifest(pixel_folder, lambda value: value["preprocess"].update(layout="NCHW", dtype="float32"))
    with pytest.raises(BundleError, match="preprocess gives float32, but the input takes uint8"):
        Bundle.open(pixel_folder)


# --- a camera without a copy ------------------------------------------------------------------------


def pixel_runner(seen, color="bgr", resize=None):
    """A runner of 8x8 pictures in some order of channels, which keeps the batches that it is given."""
    bundle = fake_bundle()
    preprocess = dataclasses.replace(bundle.manifest.preprocess, resize=resize, crop=(8, 8)).for_pixels(color)
    spec = TensorSpec("input", ("batch", 8, 8, 3), "uint8")
    manifest = dataclasses.replace(bundle.manifest, preprocess=preprocess, input=spec)

    def answer(batch):
        seen.append(batch)
        return np.zeros((len(batch), 2), np.float32)

    return Runner(Bundle(bundle.folder, manifest), FakeSession(answer, shape=spec.shape, dtype="uint8"))


def label_one(runner, picture, **options):
    fake = FakeCamera([[picture]])
    camera = fake.camera()
    assert fake.over.wait(30)
    results = runner.stream(camera, **options)
    found = next(results)
    camera.close()
    list(results)
    return found


def test_a_cameras_own_memory_reaches_a_model_in_its_order():
    picture, seen = noise(8, 8, 3), []
    with pixel_runner(seen) as runner:
        assert isinstance(label_one(runner, picture), Prediction)
    assert np.shares_memory(seen[0], picture)
    assert np.array_equal(seen[0][0], picture)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("size", [(8, 8), (11, 17)])
def test_cameras_and_pictures_give_a_model_the_same(color, size):
    pytest.importorskip("cv2")
    picture, seen = noise(*size, 3), []
    with pixel_runner(seen, color, resize=8) as runner:
        label_one(runner, picture)
        runner.predict(Image.fromarray(picture[..., ::-1].copy()))
    assert np.array_equal(seen[0], seen[1])


def test_who_looks_on_gets_the_true_colours():
    picture, pictures = noise(8, 8, 3), []
    with pixel_runner([]) as runner:
        label_one(runner, picture, visit=lambda prediction, image: pictures.append(image))
    assert np.array_equal(np.asarray(pictures[0]), picture[..., ::-1])


def test_frames_that_come_without_memory_of_a_camera_are_read_as_before():
    with pixel_runner(seen := []) as runner:
        image = Image.fromarray(noise(8, 8, 3))
        list(runner.stream([Frame("mine", 0, lambda: image)]))
    assert np.array_equal(seen[0][0], np.asarray(image)[..., ::-1])
