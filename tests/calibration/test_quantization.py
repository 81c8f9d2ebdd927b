"""`edgeproof quantize`, from a user's files to the model that it writes."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.onnx_graph.shapes import input_of
from edgeproof.calibration.passes.uint8_input import pixels_of
from edgeproof.calibration.passes.uint8_request import Uint8Request
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.quantization import QuantizeRequest, quantize
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.calibration.targets.registry import TARGETS
from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import AccuracyError, DataError, InputError, OutputError, TaskError

LAST = "logits = Gemm<transB=1>(flat, head_w, head_b)"
QUIET = Progress(quiet=True)


@pytest.fixture
def ask(tmp_path, pictures):
    """A request for a model that was saved as a user would."""

    def ask(model, target="tensorrt", **changes):
        onnx.save_model(model, tmp_path / "model.onnx")
        np.savez(tmp_path / "inputs.npz", pictures)
        request = QuantizeRequest(
            tmp_path / "model.onnx",
            str(tmp_path / "inputs.npz"),
            tmp_path / "int8.onnx",
            Int8Request(max_drop=10, recover="off"),
            target,
        )
        return replace(request, **changes)

    return ask


@pytest.fixture
def ending(change_network, network_weights):
    """The network with a node behind its scores, which are made so large that it saturates."""

    def ending(operator):
        return change_network(
            LAST,
            f"{LAST.replace('logits', 'scores')}\n    logits = {operator}(scores)",
            head_w=network_weights["head_w"] * np.float32(100),
        )

    return ending


def test_what_is_written_is_what_was_proven(ask, network, tmp_path):
    result = quantize(ask(network.model), QUIET)

    assert (tmp_path / "int8.onnx").read_bytes() == result.artifact.data
    assert result.parity
    onnx.checker.check_model(result.artifact.model, full_check=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("operator", ["Softmax", "Sigmoid", "LogSoftmax"])
def test_a_model_that_ends_in_probabilities(ask, ending, pictures, run, target, operator):
    whole = ending(operator)

    result = quantize(ask(whole.model, target), QUIET)

    written = OnnxArtifact(onnx.load_model(ask(whole.model).out), "int8")
    onnx.checker.check_model(written.model, full_check=True)
    assert written.model.graph.node[-1].op_type == operator
    assert list(written.model.graph.output) == list(whole.model.graph.output)
    got, wanted = run(written, pictures)["logits"], run(whole, pictures)["logits"]
    if operator != "LogSoftmax":
        assert ((got >= 0) & (got <= 1)).all()
    if operator == "Softmax":
        assert 100 * (got.argmax(axis=1) != wanted.argmax(axis=1)).mean() == result.drop


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("recover", ["off", "auto"])
def test_a_model_with_several_outputs_keeps_each(ask, network, target, recover):
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    shape = ["batch", 8, 16, 16]
    model.graph.output.append(onnx.helper.make_tensor_value_info("scaled", onnx.TensorProto.FLOAT, shape))
    asked = Int8Request(max_drop=10, recover=recover)
    result = quantize(ask(model, target=target, task="raw", int8=asked), QUIET)
    assert [output.name for output in result.artifact.model.graph.output] == ["logits", "scaled"]
    assert [part.name for part in result.parity.parts] == ["logits", "scaled"]
    assert min(part.sqnr_db for part in result.parity.parts) > 15


def test_such_a_model_is_judged_by_its_scores(ask, ending, change_network, network_weights):
    scores = change_network(head_w=network_weights["head_w"] * np.float32(100))

    before = quantize(ask(scores.model), QUIET)
    after = quantize(ask(ending("Softmax").model), QUIET)

    assert after.parity == before.parity
    assert (after.drop, after.layers) == (before.drop, before.layers)


@pytest.mark.parametrize("recover", ["off", "auto"])
def test_where_the_budget_does_not_hold_nothing_is_written(ask, network, tmp_path, recover):
    request = ask(network.model, int8=Int8Request(max_drop=-1, recover=recover))
    with pytest.raises(AccuracyError, match="does not keep") as caught:
        quantize(request, QUIET)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "inputs.npz"}
    told = caught.value.details["available"]
    assert told == "" if recover == "off" else "0 float layers (0% of the traffic) lose" in told


@pytest.mark.parametrize("place", ["", "model.onnx/int8.onnx"], ids=["a folder", "below a file"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(ask, network, tmp_path, monkeypatch, place):
    monkeypatch.setattr("edgeproof.calibration.quantization.read_inputs", pytest.fail)
    request = ask(network.model, out=tmp_path / place)
    with pytest.raises(OutputError, match=r"(?s)is a folder|cannot be written"):
        quantize(request, QUIET)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_stays_and_recovery_sees_all_inputs_at_once(ask, build, network_weights, batch):
    text = """g (float[{n},3,16,16] image) => (float[{n},5] y) {{
        c = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b) r = Relu(c)
        p = GlobalAveragePool(r) f = Reshape(p, flat) y = Gemm<transB=1>(f, head_w, head_b)
    }}"""
    weights = {name: network_weights[name] for name in ("conv_w", "conv_b", "head_w", "head_b")}
    model = build(text.format(n=batch), flat=np.array([batch, 8]), **weights).model

    result = quantize(ask(model, int8=Int8Request(max_drop=50, recover="auto")), QUIET)

    assert result.recovered
    assert list(result.artifact.model.graph.input) == list(model.graph.input)


def test_a_missing_folder_is_made(ask, network, tmp_path):
    quantize(ask(network.model, out=tmp_path / "new" / "int8.onnx"), QUIET)
    assert (tmp_path / "new" / "int8.onnx").exists()


def test_answers_that_are_no_scores_are_judged_as_they_are(ask, change_network):
    model = change_network("(float[batch,5] logits) {", "(float[batch] sum) {").model
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    model.graph.initializer.append(axis)
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["logits", "axis"], ["sum"], keepdims=0))
    result = quantize(ask(model), QUIET)
    assert result.accuracy.metric == "cosine of the signal"
    assert 0 < result.accuracy.drop < 10
    with pytest.raises(TaskError, match="is no classification"):
        quantize(replace(ask(model), task="classification"), QUIET)


def test_a_model_and_an_array_in_memory_are_taken_and_nothing_is_written(ask, network, pictures, tmp_path):
    from_files = quantize(ask(network.model), QUIET)
    (tmp_path / "int8.onnx").unlink()

    result = quantize(QuantizeRequest(network.model, pictures, int8=Int8Request(10, "off")))

    assert result.artifact.data == from_files.artifact.data
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    "array",
    [
        np.float32(1),
        np.zeros((0, 3, 16, 16), np.float32),
        np.zeros((20, 3, 8, 8), np.float32),
        np.zeros(20, int),
    ],
    ids=["a number", "empty", "another size", "other numbers"],
)
def test_an_array_that_does_not_fit_is_refused(network, array):
    with pytest.raises(DataError, match="The array"):
        quantize(QuantizeRequest(network.model, np.asarray(array)))


def test_an_unknown_target_is_found_before_the_work(network, pictures):
    with pytest.raises(InputError, match="no target tpu"):
        quantize(QuantizeRequest(network.model, pictures, target="tpu"))


# --- for pixels -------------------------------------------------------------------------------------

# The fixture's pictures were normalized like this.
TRAINED = Preprocess(resize=None, crop=(16, 16), mean=(0.45,) * 3, std=(0.23,) * 3)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("channels", [None, "bgr"])
def test_a_model_for_pixels_is_judged_as_it_is_written(ask, ending, pictures, run, target, channels):
    whole = ending("Softmax")
    plain = quantize(ask(whole.model, target), QUIET)

    result = quantize(ask(whole.model, target, preprocess=TRAINED, uint8=Uint8Request(channels)), QUIET)

    written = OnnxArtifact(onnx.load_model(ask(whole.model).out), "int8")
    onnx.checker.check_model(written.model, full_check=True)
    assert input_of(written.model) == TensorSpec("image", ("batch", 16, 16, 3), "uint8")
    pixels = pixels_of(pictures, TRAINED, TRAINED.for_pixels(channels))
    got, wanted = run(written, pixels)["logits"], run(whole, pictures)["logits"]
    assert 100 * (got.argmax(axis=1) != wanted.argmax(axis=1)).mean() == result.drop
    assert result.parity.sqnr_db > plain.parity.sqnr_db - 1
    assert result.artifact.stage == "uint8-input"


def test_pixels_want_the_normalization(ask, network, tmp_path):
    with pytest.raises(InputError, match=r"--preprocess FILE\.json"):
        quantize(ask(network.model, uint8=Uint8Request()), QUIET)
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("changes", [{"mean": (0.9,) * 3}, {"std": (0.5,) * 3}])
def test_another_normalization_than_that_of_the_inputs_is_found(ask, network, changes):
    request = ask(network.model, preprocess=replace(TRAINED, **changes), uint8=Uint8Request())
    with pytest.raises(InputError, match="not pictures that were normalized") as caught:
        quantize(request, QUIET)
    assert "values from" in caught.value.details["got"]


def test_pixels_come_back_as_they_were():
    trained = Preprocess(None, None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    normalized = np.stack([trained.normalized(picture) for picture in pixels])
    assert np.array_equal(pixels_of(normalized, trained, trained.for_pixels()), pixels)
