"""What `predict` and `stream` take: paths, Pillow's pictures, arrays, and iterables of these."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime import BadFrame, Bundle, EdgeproofError, InputError, Prediction, Runner
from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.testing import FakeSession, fake_bundle

NAMES = ("red", "green", "blue")


@pytest.fixture
def runner(bundle):
    with Runner.open(bundle, provider="cpu") as opened:
        yield opened


@pytest.fixture
def tensor_runner(write_bundle, tmp_path):
    """The same network, which takes tensors as they are."""
    with Runner.open(write_bundle(tmp_path / "tensors", preprocess=None), provider="cpu") as opened:
        yield opened


def picture(colours, name, size=(20, 13)):
    return Image.new("RGB", size, colours[name])


def labels(results):
    return [result.top[0].label if isinstance(result, Prediction) else result.error for result in results]


# --- one input --------------------------------------------------------------------------------------


def test_a_path_a_picture_and_its_rgb_array_get_the_same_answer(runner, colours, tmp_path):
    image = picture(colours, "red")
    image.save(tmp_path / "red.png")
    given = [str(tmp_path / "red.png"), tmp_path / "red.png", image, np.asarray(image)]
    answers = [runner.predict(one) for one in given]
    assert labels(answers) == ["red"] * 4
    assert len({answer.top for answer in answers}) == 1
    assert [answer.source for answer in answers] == [str(tmp_path / "red.png")] * 2 + [""] * 2
    assert runner.predict(image, source="camera", frame=7).frame == 7


def test_an_array_that_is_not_contiguous_is_the_picture_that_it_shows(runner, colours):
    blue_first = np.asarray(picture(colours, "blue"))[:, :, ::-1]
    assert labels([runner.predict(blue_first), runner.predict(blue_first[:, :, ::-1])]) == ["red", "blue"]


def test_a_tensor_of_the_model_is_taken_as_it_is(runner, tensor_runner, bundle, colours, tmp_path):
    tensor = bundle.manifest.preprocess(picture(colours, "green"))
    np.save(tmp_path / "green.npy", tensor)
    for opened in (runner, tensor_runner):
        assert labels([opened.predict(tensor), opened.predict(tmp_path / "green.npy")]) == ["green"] * 2


def test_of_a_model_of_pixels_in_bgr_an_array_is_still_rgb(colours):
    seen = []

    def answer(batch):
        seen.append(batch)
        return np.zeros((len(batch), 2), np.float32)

    bundle = fake_bundle()
    spec = TensorSpec("input", ("batch", 8, 8, 3), "uint8")
    preprocess = bundle.manifest.preprocess.for_pixels("bgr")
    bundle = Bundle(bundle.folder, replace(bundle.manifest, preprocess=preprocess, input=spec))
    image = picture(colours, "red", (8, 8))
    with Runner(bundle, FakeSession(answer, shape=spec.shape, dtype="uint8")) as runner:
        runner.predict(np.asarray(image))
        runner.predict(image)
    assert np.array_equal(seen[0], seen[1])
    assert tuple(seen[0][0, 0, 0]) == colours["red"][::-1]


WRONG = {
    "None": (None, "builtins.NoneType"),
    "a number": (3, "builtins.int"),
    "bytes": (b"\x89PNG", "builtins.bytes"),
    "a list": ([], "builtins.list"),
    "floats of a picture": (np.zeros((13, 20, 3), np.float32), "float32 of shape (13, 20, 3)"),
    "doubles": (np.zeros((3, 8, 8)), "float64 of shape (3, 8, 8)"),
    "grey": (np.zeros((13, 20), np.uint8), "uint8 of shape (13, 20)"),
    "alpha": (np.zeros((13, 20, 4), np.uint8), "uint8 of shape (13, 20, 4)"),
    "no pixels": (np.zeros((0, 20, 3), np.uint8), "uint8 of shape (0, 20, 3)"),
    "a batch": (np.zeros((1, 3, 8, 8), np.float32), "float32 of shape (1, 3, 8, 8)"),
}


@pytest.mark.parametrize(("wrong", "got"), WRONG.values(), ids=WRONG)
def test_anything_else_is_an_error_that_says_what_is_taken(runner, tensor_runner, wrong, got):
    for opened in (runner, tensor_runner):
        with pytest.raises(InputError) as caught:
            opened.predict(wrong)
        assert got in caught.value.details["got"]
        assert "float32" in caught.value.details["wanted"]
        assert "(height, width, 3) in RGB" in str(caught.value)


def test_a_bundle_of_tensors_takes_no_picture(tensor_runner, colours, paint, tmp_path):
    image = picture(colours, "red")
    for one in (image, np.asarray(image), paint(tmp_path / "red.png", "red")):
        with pytest.raises(InputError):
            tensor_runner.predict(one)


def test_a_file_that_is_not_one_input_is_refused(runner, paint, tmp_path):
    paint(tmp_path / "red.png", "red")
    np.save(tmp_path / "three.npy", np.zeros((3, 3, 8, 8), np.float32))
    for path in (tmp_path, tmp_path / "three.npy"):
        with pytest.raises(InputError, match="not one picture or tensor") as caught:
            runner.predict(path)
        assert "Runner.stream" in caught.value.details["to do"]
    with pytest.raises(InputError, match="does not exist"):
        runner.predict(str(tmp_path / "absent.png"))


# --- several ----------------------------------------------------------------------------------------


def test_a_stream_takes_one_of_each_kind_and_several(runner, colours, tmp_path):
    images = [picture(colours, name) for name in NAMES]
    arrays = [np.asarray(image) for image in images]
    for image, name in zip(images, NAMES, strict=True):
        image.save(tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in NAMES]
    for several in (images, arrays, paths, list(map(str, paths)), np.stack(arrays), (i for i in images)):
        assert labels(runner.stream(several)) == list(NAMES)
    for alone in (images[0], arrays[0], paths[0], str(paths[0])):
        assert labels(runner.stream(alone)) == ["red"]
    assert labels(runner.stream([images[0], arrays[1], paths[2]])) == list(NAMES)
    assert list(runner.stream([])) == []


def test_a_stream_takes_tensors_one_or_stacked(tensor_runner, bundle, colours):
    tensors = [bundle.manifest.preprocess(picture(colours, name)) for name in NAMES]
    assert labels(tensor_runner.stream(tensors)) == list(NAMES)
    assert labels(tensor_runner.stream(np.stack(tensors))) == list(NAMES)
    assert labels(tensor_runner.stream(tensors[2])) == ["blue"]


def test_what_came_from_memory_is_numbered(runner, colours):
    results = list(runner.stream([picture(colours, name) for name in NAMES]))
    assert [(result.source, result.frame) for result in results] == [("memory", i) for i in range(3)]


def test_a_visitor_sees_the_array_as_a_picture(runner, colours):
    seen = []
    list(runner.stream([np.asarray(picture(colours, "red"))], visit=lambda result, image: seen.append(image)))
    assert seen[0].getpixel((0, 0)) == colours["red"]


def test_an_array_that_fits_nothing_is_one_bad_frame(runner, colours):
    good = picture(colours, "red")
    first, bad, last = runner.stream([good, np.zeros((5, 5), np.uint8), good])
    assert labels([first, last]) == ["red", "red"]
    assert isinstance(bad, BadFrame)
    assert "uint8 of shape (5, 5)" in bad.error
    assert "(height, width, 3) in RGB" in bad.error


@pytest.mark.parametrize("wrong", [None, 3, [None], [3], b"ab", {"a": 1}.values()], ids=str)
def test_a_stream_of_something_else_is_an_error(runner, wrong):
    with pytest.raises(InputError, match="neither a picture nor a tensor"):
        list(runner.stream(wrong))


def test_of_all_that_can_be_given_nothing_raises_anything_but_our_errors(runner):
    for wrong in (
        *(value for value, _ in WRONG.values()),
        object(),
        np.array("text"),
        np.array([{}], object),
    ):
        with pytest.raises(EdgeproofError):
            runner.predict(wrong)
