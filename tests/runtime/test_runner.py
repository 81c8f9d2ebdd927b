import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.bundle import Bundle
from edgeproof.runtime.errors import BundleError, EdgeproofError, InputError
from edgeproof.runtime.records import encode
from edgeproof.runtime.runner import BadFrame, Prediction, Runner
from edgeproof.runtime.session import Session, softmax


def random_picture(seed, size=(11, 9)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def runner(bundle):
    with Runner.open(bundle) as opened:
        yield opened


@pytest.mark.parametrize("label", ["red", "green", "blue", "dark"])
@pytest.mark.parametrize("precision", [None, "fp32", "fp16"])
def test_each_colour_gets_its_label(bundle, colours, label, precision):
    with Runner.open(bundle, precision=precision) as runner:
        best = runner.predict(Image.new("RGB", (20, 13), colours[label])).top[0]
    assert best.label == label
    assert bundle.manifest.labels[best.index] == label
    assert best.probability > 0.9


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_a_picture_of_another_mode_gets_its_label(runner, colours, mode):
    assert runner.predict(Image.new("RGB", (8, 8), colours["green"]).convert(mode)).top[0].label == "green"


def test_a_bundle_opens_by_its_path(bundle_folder, colours):
    with Runner.open(str(bundle_folder)) as runner:
        assert runner.predict(Image.new("RGB", (8, 8), colours["blue"])).top[0].label == "blue"


@pytest.mark.parametrize("seed", range(5))
def test_probabilities_are_sorted_and_sum_to_one(runner, seed):
    top = runner.predict(random_picture(seed)).top
    values = [score.probability for score in top]
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert sorted(score.index for score in top) == [0, 1, 2, 3]


@pytest.mark.parametrize(("top", "given"), [(1, 1), (3, 3), (4, 4), (100, 4)])
def test_as_many_classes_as_asked_for_and_there_are(bundle, top, given):
    with Runner.open(bundle, top=top) as runner:
        assert len(runner.predict(random_picture(0)).top) == given


def test_equal_scores_keep_the_order_of_the_labels(write_bundle, replace_file, tiny_model, tmp_path):
    folder = write_bundle(tmp_path / "bundle")
    model = tiny_model(weights=np.zeros((3, 4), np.float32), bias=np.zeros(4, np.float32))
    replace_file(folder, "model.fp16.onnx", model)
    with Runner.open(folder) as runner:
        top = runner.predict(random_picture(0)).top
    assert [(score.index, score.probability) for score in top] == [(i, 0.25) for i in range(4)]


def test_the_scores_are_those_of_preprocessing_model_and_softmax(bundle, runner):
    image = random_picture(1)
    with Session(bundle.model_bytes("fp16")) as session:
        logits = session.run(bundle.manifest.preprocess(image)[None])["scores"][0]
    by_index = {score.index: score.probability for score in runner.predict(image).top}
    assert [by_index[i] for i in range(4)] == pytest.approx(softmax(logits), abs=1e-6)


def test_outputs_that_are_probabilities_are_not_softmaxed_again(write_bundle, tmp_path):
    image = random_picture(2)
    folders = [write_bundle(tmp_path / str(softmax), softmax=softmax) for softmax in (False, True)]
    assert [Bundle.open(folder).manifest.outputs[0].scores for folder in folders] == [
        "logits",
        "probabilities",
    ]
    answers = []
    for folder in folders:
        with Runner.open(folder) as runner:
            answers.append(runner.predict(image).top)
    assert [score.index for score in answers[0]] == [score.index for score in answers[1]]
    expected = [score.probability for score in answers[0]]
    assert [score.probability for score in answers[1]] == pytest.approx(expected, abs=2e-6)


def test_source_and_frame_are_passed_on(runner):
    prediction = runner.predict(random_picture(0), source="camera", frame=7)
    assert (prediction.source, prediction.frame) == ("camera", 7)
    assert prediction.latency_ms > 0


def test_a_prediction_is_plain_json(runner):
    value = json.loads(json.dumps(encode(runner.predict(random_picture(0), source="a"))))
    assert set(value) == {"source", "frame", "top", "latency_ms"}
    assert set(value["top"][0]) == {"index", "label", "probability"}


# --- streams ----------------------------------------------------------------------------------------


def test_a_bad_frame_is_told_and_the_rest_goes_on(runner, paint, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (1, 2_000_000), "red").save(tmp_path / "thin.png")
    paths = [
        paint(tmp_path / "red.png", "red"),
        tmp_path / "text.jpg",
        tmp_path / "absent.jpg",
        tmp_path / "thin.png",
        paint(tmp_path / "blue.png", "blue"),
    ]
    first, text, absent, thin, last = runner.stream(paths)
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)
    assert [first.top[0].label, last.top[0].label] == ["red", "blue"]
    assert [first.source, last.source] == [str(paths[0]), str(paths[-1])]
    assert text == BadFrame(str(paths[1]), f"{paths[1]} is not a picture that Pillow can read.")
    assert absent == BadFrame(str(paths[2]), f"{paths[2]} does not exist.")
    assert isinstance(thin, BadFrame)
    assert "would grow to" in thin.error


def test_frames_are_read_one_by_one(runner, paint, tmp_path):
    def paths():
        yield paint(tmp_path / "red.png", "red")
        pytest.fail("the second frame was read before the first was given")

    assert next(iter(runner.stream(paths()))).top[0].label == "red"


# --- what is refused --------------------------------------------------------------------------------


def test_an_absent_precision_is_refused_with_those_that_are_there(bundle):
    with pytest.raises(InputError, match="holds no int8 model") as caught:
        Runner.open(bundle, precision="int8")
    assert "fp32, fp16" in str(caught.value)


def test_a_damaged_bundle_is_refused(bundle_folder):
    (bundle_folder / "model.fp32.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match="is not the file that was exported"):
        Runner.open(bundle_folder)


@pytest.fixture
def tensor_runner(write_bundle, tmp_path):
    """The bundle's network, taking tensors as they are."""
    with Runner.open(write_bundle(tmp_path / "tensors", preprocess=None)) as runner:
        yield runner


def test_tensors_are_frames_of_their_file(tensor_runner, tmp_path):
    shape = tensor_runner.bundle.manifest.input.shape[1:]
    samples = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    np.save(tmp_path / "three.npy", samples)
    np.save(tmp_path / "one.npy", samples[1])
    results = list(tensor_runner.stream([tmp_path / "three.npy", tmp_path / "one.npy"]))
    assert [(Path(r.source).name, r.frame) for r in results] == [
        ("three.npy", 0),
        ("three.npy", 1),
        ("three.npy", 2),
        ("one.npy", 0),
    ]
    assert results[3].top == results[1].top


def test_pictures_and_their_tensors_get_the_same_labels(bundle, paint, tmp_path):
    with Runner.open(bundle) as runner, Image.open(paint(tmp_path / "red.png", "red")) as image:
        np.save(tmp_path / "red.npy", bundle.manifest.preprocess(image))
        picture, tensor = runner.stream([tmp_path / "red.png", tmp_path / "red.npy"])
    assert picture.top == tensor.top


def test_a_bundle_that_takes_tensors_refuses_pictures(tensor_runner, paint, tmp_path):
    picture = paint(tmp_path / "red.png", "red")
    (result,) = tensor_runner.stream([picture])
    assert isinstance(result, BadFrame)
    assert "a .npy file" in result.error
    with pytest.raises(InputError, match="takes tensors, not pictures"):
        tensor_runner.predict(Image.new("RGB", (8, 8)))


def save_objects(path, shape):
    np.save(path, np.array([{}], object), allow_pickle=True)


def save_doubles(path, shape):
    np.save(path, np.zeros(shape))


def save_other_shape(path, shape):
    np.save(path, np.zeros((2, 2), np.float32))


def save_truncated(path, shape):
    np.save(path, np.zeros(shape, np.float32))
    path.write_bytes(path.read_bytes()[:-8])


def save_archive(path, shape):
    with path.open("wb") as stream:
        np.savez(stream, a=np.zeros(shape, np.float32))


@pytest.mark.parametrize("save", [save_objects, save_doubles, save_other_shape, save_truncated, save_archive])
def test_a_bad_tensor_is_one_bad_frame(tensor_runner, tmp_path, save):
    shape = tensor_runner.bundle.manifest.input.shape[1:]
    save(tmp_path / "bad.npy", shape)
    np.save(tmp_path / "good.npy", np.ones(shape, np.float32))
    bad, good = tensor_runner.stream([tmp_path / "bad.npy", tmp_path / "good.npy"])
    assert isinstance(bad, BadFrame)
    assert "bad.npy" in bad.error
    assert good.top


def test_a_preprocessing_that_does_not_fit_the_model_is_refused(bundle_folder, edit_manifest):
    edit_manifest(bundle_folder, lambda manifest: manifest["preprocess"].update(crop=[7, 8]))
    with Runner.open(bundle_folder) as runner, pytest.raises(InputError, match="does not fit the model"):
        runner.predict(random_picture(0))


def test_a_closed_runner_is_refused(bundle):
    with Runner.open(bundle) as runner:
        pass
    with pytest.raises(InputError, match="session is closed"):
        runner.predict(random_picture(0))


def test_a_bundle_without_labels_either_runs_or_is_refused(write_bundle, tmp_path):
    folder = write_bundle(tmp_path / "bundle", labels=())
    try:
        with Runner.open(folder) as runner:
            assert len(runner.predict(random_picture(0)).top) == 4
    except InputError:
        pass


def test_an_output_that_the_model_does_not_have_is_refused(bundle_folder, edit_manifest):
    edit_manifest(bundle_folder, lambda manifest: manifest["outputs"][0].update(name="votes"))
    with pytest.raises(InputError, match="votes"), Runner.open(bundle_folder) as runner:
        runner.predict(random_picture(0))


def test_an_answer_of_nan_is_not_given_as_a_probability(bundle_folder, replace_file, tiny_model):
    broken = tiny_model(bias=np.array([np.nan, 0, 0, 0], np.float32))
    replace_file(bundle_folder, "model.fp16.onnx", broken)
    with Runner.open(bundle_folder) as runner:
        try:
            prediction = runner.predict(random_picture(0))
        except EdgeproofError:
            return
    json.dumps(encode(prediction), allow_nan=False)
