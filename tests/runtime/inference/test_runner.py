import json
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from PIL import Image

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.errors import (
    BundleError,
    EdgeproofError,
    ImageError,
    InputError,
    ModelError,
    OutputError,
    ProofError,
    TensorError,
)
from edgeproof.runtime.inference import concurrency as room
from edgeproof.runtime.inference.formats import json_line
from edgeproof.runtime.inference.runner import BadFrame, Prediction, Runner
from edgeproof.runtime.providers.placement import Placement
from edgeproof.runtime.providers.request import Batches, EngineOptions, ProviderRequest
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.tasks.classification import softmax
from edgeproof.runtime.testing import FakeSession, brightness, fake_bundle, fake_runner, memory


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


def test_the_five_most_probable_classes_are_told_where_nothing_else_is_asked_for():
    scores = np.arange(7, dtype=np.float32)
    with Runner(fake_bundle([str(i) for i in range(7)]), FakeSession(lambda batch: scores[None])) as runner:
        top = runner.predict(Image.new("RGB", (8, 8))).top
    assert [score.label for score in top] == ["6", "5", "4", "3", "2"]


def test_results_tell_when_their_frames_were_taken_to_the_millisecond(runner, colours):
    before = time.time()
    times = [result.time for result in runner.stream([Image.new("RGB", (8, 8), colours["red"])] * 8)]
    assert all(before - 0.001 <= taken <= time.time() + 0.001 for taken in times)
    assert times == [round(taken, 3) for taken in times]


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
    replace_file(folder, "model.fp32.onnx", model)
    with Runner.open(folder) as runner:
        top = runner.predict(random_picture(0)).top
    assert [(score.index, score.probability) for score in top] == [(i, 0.25) for i in range(4)]


def test_the_scores_are_those_of_preprocessing_model_and_softmax(bundle, runner):
    image = random_picture(1)
    with Session(bundle.model_bytes(runner.precision)) as session:
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
    value = json.loads(json_line(runner.predict(random_picture(0), source="a")))
    assert set(value) == {"source", "frame", "time", "top", "latency_ms", "provider", "fallback"}
    assert (value["provider"], value["fallback"]) == ("cpu", False)
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
    assert (text.source, text.error) == (str(paths[1]), f"{paths[1]} is not a picture that Pillow can read.")
    assert (absent.source, absent.error) == (str(paths[2]), f"{paths[2]} does not exist.")
    assert isinstance(thin, BadFrame)
    assert "would grow to" in thin.error


def bright(share, side=8):
    return Image.new("L", (side, side), round(255 * share))


def test_frames_are_read_a_bounded_number_ahead():
    drawn = []

    def pictures():
        for number in range(1000):
            drawn.append(number)
            yield bright(0)

    with fake_runner(workers=3) as runner:
        stream = runner.stream(memory(pictures()))
        for _ in range(10):
            next(stream)
        # What is read and not inferred, what is inferred and not taken, and the batch between them.
        assert len(drawn) <= 10 + runner.concurrency.read_ahead + 3 * runner.concurrency.streams + 1
        stream.close()


@settings(max_examples=30)
@given(
    shares=st.lists(st.sampled_from([0.0, 1.0, None]), max_size=40),
    workers=st.integers(1, 5),
    batch=st.integers(1, 7),
)
def test_every_frame_gets_its_own_answer_in_its_place(shares, workers, batch):
    request = ProviderRequest(engine=EngineOptions(Batches(1, batch, batch)))
    samples = [ImageError("torn") if share is None else bright(share) for share in shares]
    with fake_runner(workers=workers, request=request) as runner:
        results = list(runner.stream(memory(samples)))
    assert [result.frame for result in results] == list(range(len(shares)))
    wanted = [None if share is None else ("bright" if share else "dark") for share in shares]
    assert [r.top[0].label if isinstance(r, Prediction) else None for r in results] == wanted
    assert (runner.totals.labelled, runner.totals.bad) == (
        len(shares) - shares.count(None),
        shares.count(None),
    )


def test_frames_that_are_ready_go_together_and_none_waits():
    sizes, first = [], threading.Event()

    def answer(batch):
        sizes.append(len(batch))
        assert first.wait(30)
        return batch.mean(axis=(2, 3))[:, :2]

    request = ProviderRequest("cuda", engine=EngineOptions(Batches(1, 4, 4)))
    session = FakeSession(answer, placement=Placement("cuda", "cuda", {}))
    runner = Runner(fake_bundle(), session, request, workers=8)
    with runner:
        stream = runner.stream(memory(bright(0.5) for _ in range(40)))
        threading.Timer(0.3, first.set).start()
        assert len(list(stream)) == 40
    assert set(sizes) == {4}  # filled up: another size would be planned anew
    assert len(sizes) < 40
    assert runner.concurrency.streams == 1


def test_a_cuda_graph_gets_batches_of_its_one_size():
    request = ProviderRequest("cuda", engine=EngineOptions(Batches(4, 4, 4), cuda_graph=True))
    session = FakeSession(brightness(2), placement=Placement("cuda", "cuda", {}))
    with Runner(fake_bundle(), session, request) as runner:
        results = list(
            runner.stream(memory([bright(0), bright(1), ImageError("torn"), bright(0), bright(1)]))
        )
    assert set(session.batches) == {4}
    labels = [r.top[0].label if isinstance(r, Prediction) else None for r in results]
    assert labels == ["dark", "bright", None, "dark", "bright"]


def test_a_model_of_one_batch_size_is_given_that():
    session = FakeSession(brightness(2), shape=(3, 3, 8, 8))
    with Runner(fake_bundle(), session) as runner:
        assert [r.top[0].label for r in runner.stream(memory([bright(1)] * 4))] == ["bright"] * 4
        assert runner.predict(bright(0)).top[0].label == "dark"
    assert set(session.batches) == {3}
    with pytest.raises(InputError, match="takes batches of 3"):
        Runner(fake_bundle(), session, ProviderRequest(engine=EngineOptions(Batches(1, 2, 2))))


def test_tensors_of_several_shapes_are_never_stacked():
    shape = ("batch", 3, "height", "width")
    session, bundle = FakeSession(brightness(2), shape=shape), fake_bundle(pictures=False)
    bundle = replace(bundle, manifest=replace(bundle.manifest, input=TensorSpec("input", shape, "float32")))
    tensors = [np.full((3, side, side), 1, np.float32) for side in (8, 8, 9, 8, 10, 10)]
    with Runner(bundle, session, ProviderRequest(engine=EngineOptions(Batches(1, 6, 6)))) as runner:
        results = list(runner.stream(memory(tensors)))
    assert [r.top[0].label for r in results] == ["bright"] * 6


def test_stop_finishes_what_is_under_way():
    with fake_runner() as runner:
        stream = runner.stream(memory(bright(0) for _ in count()))
        seen = [next(stream).frame for _ in range(5)]
        runner.stop()
        seen += [result.frame for result in stream]
        assert seen == list(range(len(seen)))
        assert list(runner.stream(memory([bright(0)] * 1000))) == []


def test_an_abandoned_stream_leaves_no_thread():
    before = threading.active_count()
    with fake_runner(workers=4) as runner:
        stream = runner.stream(memory(bright(0) for _ in count()))
        next(stream)
        assert threading.active_count() > before
        stream.close()
        assert threading.active_count() == before


def test_what_the_model_raises_ends_the_stream_after_the_frames_before():
    def answer(batch):
        if batch.mean() > 0:
            raise ModelError("it broke")
        return np.zeros((len(batch), 2), np.float32)

    with fake_runner(answer) as runner:
        stream = runner.stream(memory([bright(0), bright(0), bright(1), bright(0)]))
        assert [next(stream).frame, next(stream).frame] == [0, 1]
        with pytest.raises(ModelError, match="it broke"):
            next(stream)


def test_every_labelled_frame_is_visited_with_its_picture():
    visited = {}

    def visit(prediction, picture):
        visited[prediction.frame] = (prediction.top[0].label, picture and picture.getpixel((0, 0)))

    samples = [bright(0), ImageError("torn"), bright(1), np.ones((3, 8, 8), np.float32)]
    with fake_runner() as runner:
        assert len(list(runner.stream(memory(samples), visit=visit))) == 4
    assert visited == {0: ("dark", 0), 2: ("bright", 255), 3: ("bright", None)}


def test_a_visitor_that_fails_ends_the_stream():
    def visit(prediction, picture):
        raise OutputError("the disk is full")

    with fake_runner() as runner, pytest.raises(OutputError, match="disk is full"):
        list(runner.stream(memory([bright(0)] * 9), visit=visit))


def test_a_source_is_named_as_on_the_command_line(runner, paint, tmp_path):
    for label in ("blue", "red"):
        paint(tmp_path / f"{label}.png", label)
    named = [str(tmp_path), [str(tmp_path / "*.png")], [tmp_path / "blue.png", tmp_path / "red.png"]]
    for source in named:
        assert [r.top[0].label for r in runner.stream(source)] == ["blue", "red"]
    assert [r.top[0].label for r in runner.stream(tmp_path / "red.png")] == ["red"]
    mixed = [*memory([Image.open(tmp_path / "red.png")]), str(tmp_path / "b*.png"), tmp_path / "red.png"]
    assert [r.top[0].label for r in runner.stream(mixed)] == ["red", "blue", "red"]
    with pytest.raises(InputError, match="There is nothing at"):
        list(runner.stream([str(tmp_path), str(tmp_path / "absent")]))


@pytest.mark.parametrize(("threads", "streams"), [(None, 4), (1, 4), (2, 2), (3, 1), (9, 1)])
def test_on_the_cpu_inferences_share_the_cores(monkeypatch, threads, streams):
    monkeypatch.setattr(room, "cores", lambda: 4)
    with fake_runner(request=ProviderRequest(threads=threads)) as runner:
        assert (runner.concurrency.streams, runner.concurrency.workers) == (streams, 4)


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_as_many_inferences_at_once_as_streams_are_asked_for(machine, bundle, provider):
    pictures = [random_picture(seed) for seed in range(40)]
    with Runner.open(bundle, provider=provider) as runner:
        alone = [result.top[0].index for result in runner.stream(memory(pictures))]
    with Runner.open(bundle, provider=provider, streams=3) as runner:
        assert runner.concurrency.streams == 3
        assert [result.top[0].index for result in runner.stream(memory(pictures))] == alone


def test_a_prediction_says_where_it_was_computed(machine, bundle):
    with Runner.open(bundle, provider="cuda") as runner:
        assert runner.placement.label == "cuda"
        first = runner.predict(random_picture(0))
    machine.refused = {"CUDAExecutionProvider": {"Gemm"}}
    request = ProviderRequest("cuda", allow_fallback=True)
    with Runner.open(bundle, provider=request) as runner:
        second = runner.predict(random_picture(0))
    assert (first.provider, first.fallback) == ("cuda", False)
    assert (second.provider, second.fallback) == ("cuda+cpu", True)


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


# --- NaN and Inf ------------------------------------------------------------------------------------


def quantized(model):
    """A Q/DQ pair in front of a model, as INT8 has it: NaN and Inf become integers there."""
    changed = onnx.load_from_string(model)
    parameters = [
        numpy_helper.from_array(np.float32(1 / 127), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    changed.graph.initializer.extend(parameters)
    changed.graph.node[0].input[0] = "back"
    pair = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["integers"]),
        helper.make_node("DequantizeLinear", ["integers", "scale", "zero"], ["back"]),
    ]
    nodes = [*pair, *changed.graph.node]
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    onnx.checker.check_model(changed)
    return changed.SerializeToString()


@pytest.fixture
def three_precisions(bundle_folder, edit_manifest, replace_file, tiny_model):
    """A bundle that also holds a small INT8 model."""

    def add(manifest):
        manifest["models"]["int8"] = {**manifest["models"]["fp16"], "file": "model.int8.onnx"}

    edit_manifest(bundle_folder, add)
    replace_file(bundle_folder, "model.int8.onnx", quantized(tiny_model()))
    return Bundle.open(bundle_folder)


def bad_tensor(value, count=1):
    tensor = np.full((3, 8, 8), 0.25, np.float32)
    tensor.reshape(-1)[:count] = value
    return tensor


def test_int8_alone_would_label_nan(three_precisions):
    with Session(three_precisions.model_bytes("int8")) as session:
        assert np.isfinite(session.run(bad_tensor(np.nan)[None])["scores"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nan_or_inf_in_an_input_is_one_bad_frame_in_every_precision(three_precisions, precision, value):
    good = three_precisions.golden().input[:3]
    frames = [good[0], bad_tensor(value, 2), good[1], bad_tensor(value), good[2]]
    request = ProviderRequest(engine=EngineOptions(Batches(1, 5, 5)))
    with Runner.open(three_precisions, precision=precision, provider=request) as runner:
        alone = [runner.predict(tensor).top for tensor in good]
        results = list(runner.stream(memory(frames)))
        assert (runner.totals.labelled, runner.totals.bad) == (3, 2)
    assert [type(result) for result in results] == [Prediction, BadFrame, Prediction, BadFrame, Prediction]
    assert [result.top for result in results[::2]] == alone
    assert "holds 2 NaN or Inf" in results[1].error


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nan_in_a_file_of_tensors_loses_no_other(three_precisions, precision, tmp_path):
    np.save(tmp_path / "three.npy", np.stack([bad_tensor(0.5), bad_tensor(np.nan), bad_tensor(-0.5)]))
    with Runner.open(three_precisions, precision=precision) as runner:
        first, bad, last = runner.stream(tmp_path / "three.npy")
    assert isinstance(bad, BadFrame)
    assert (bad.frame, bad.source) == (1, str(tmp_path / "three.npy"))
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nan_in_one_tensor_is_refused(three_precisions, precision):
    with (
        Runner.open(three_precisions, precision=precision) as runner,
        pytest.raises(TensorError, match="holds 1 NaN or Inf"),
    ):
        runner.predict(bad_tensor(np.nan))


def test_nan_in_an_answer_to_a_good_input_is_the_models_fault():
    with fake_runner(lambda batch: np.full((len(batch), 2), np.nan, np.float32)) as runner:
        with pytest.raises(ProofError, match="answers the input with NaN or Inf"):
            runner.predict(bad_tensor(0.5))
        with pytest.raises(ProofError, match="answers memory with NaN or Inf"):
            list(runner.stream(memory([bad_tensor(0.5)])))


@pytest.mark.parametrize("dtype", [np.uint8, object])
def test_what_holds_no_floats_is_left_for_the_model_to_refuse(dtype):
    with fake_runner() as runner, pytest.raises(InputError, match="does not fit the model"):
        runner.predict(np.zeros((3, 8, 8), dtype))


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
    json_line(prediction)
