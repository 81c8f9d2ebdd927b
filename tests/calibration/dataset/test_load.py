"""A user's model in normal form, proven to answer as before, and its inputs."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeproof.calibration.dataset import load as module
from edgeproof.calibration.dataset.load import read_inputs
from edgeproof.calibration.progress import Progress
from edgeproof.runtime.errors import DataError, InputError, ModelError, ParityError
from edgeproof.runtime.tasks.classification import Classification

QUIET = Progress(quiet=True)
BYTES = """
g (uint8[4,16,16,3] image) => (float[4,8] y) {
    f = Cast<to=1>(image) s = Div(f, full) t = Transpose<perm=[0,3,1,2]>(s)
    c = Conv(t, conv_w, conv_b) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p)
}"""


@pytest.fixture
def read(tmp_path):
    """Reads a model and inputs that were saved as a user would."""

    def read(model, inputs):
        onnx.save_model(model, tmp_path / "model.onnx")
        np.savez(tmp_path / "inputs.npz", inputs)
        return read_inputs(tmp_path / "model.onnx", str(tmp_path / "inputs.npz"), None, QUIET)

    return read


@pytest.fixture
def spoil(monkeypatch):
    """Lets the normalization change one weight, as a fault in it would."""

    def spoil(name, change):
        normalize = module.normalize

        def broken(model):
            normal = normalize(model)
            tensor = next(tensor for tensor in normal.graph.initializer if tensor.name == name)
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
            return normal

        monkeypatch.setattr(module, "normalize", broken)

    return spoil


def test_the_model_is_normal_and_the_inputs_are_counted(read, network, pictures):
    subject = read(network.model, pictures)

    assert subject.artifact.stage == "normalize"
    assert len(subject.samples) == len(pictures) * 3 // 4
    assert len(subject.judging) == len(pictures) // 4
    calibrating, judging = (set(map(bytes, part.sample(99))) for part in (subject.samples, subject.judging))
    assert not calibrating & judging
    assert subject.task == Classification()


@pytest.mark.parametrize("factor", [1.001, -1, np.nan])
def test_a_fault_in_the_normalization_is_found(read, spoil, network, pictures, factor):
    spoil("depthwise_w", lambda values: (values * factor).astype(np.float32))
    with pytest.raises(ParityError, match=r"(?s)its output 'logits' differs.*got: ") as caught:
        read(network.model, pictures)
    assert caught.value.exit_status == 1


def test_a_fault_that_changes_the_shape_is_found(read, spoil, network, pictures):
    spoil("head_w", lambda values: np.concatenate([values, values])[:4])
    spoil("head_b", lambda values: values[:4])
    with pytest.raises(ParityError, match="shapes differ"):
        read(network.model, pictures)


def test_bytes_in_fixed_batches_and_the_layout_of_pictures(read, build, network_weights, pictures):
    weights = {name: network_weights[name] for name in ("conv_w", "conv_b")}
    model = build(BYTES, full=np.float32(255), **weights).model
    pixels = np.clip((pictures * 0.23 + 0.45) * 255, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    assert read(model, pixels).samples.sample(1).dtype == np.uint8


def test_an_old_model_that_lists_its_weights_as_inputs(read, build, network_weights, pictures):
    text = """g (float[batch,3,16,16] x) => (float[batch,8] y) {
        c = Conv(x, conv_w, conv_b) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p)
    }"""
    weights = {name: network_weights[name] for name in ("conv_w", "conv_b")}
    model = build(text, opset=8, **weights).model
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )

    assert [info.name for info in read(model, pictures).artifact.model.graph.input] == ["x"]


@pytest.mark.parametrize("factor", [0, 1e4], ids=["the same answer to all", "saturated"])
def test_answers_of_little_signal_are_no_fault(read, change_network, network_weights, pictures, factor):
    last = "logits = Gemm<transB=1>(flat, head_w, head_b)"
    model = change_network(
        last,
        last.replace("logits", "scores") + "\n    logits = Softmax<axis=1>(scores)",
        head_w=network_weights["head_w"] * np.float32(factor),
    ).model

    read(model, pictures)


def test_outputs_of_whole_numbers_must_be_the_same(read, change_network, spoil, pictures):
    model = change_network(
        "(float[batch,5] logits) {", "(float[batch,5] logits, int64[batch,1] best) {"
    ).model
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["best"], axis=1))
    read(model, pictures)
    spoil("head_w", lambda values: values[::-1])
    spoil("head_b", lambda values: values[::-1])
    with pytest.raises(ParityError):
        read(model, pictures)


def test_a_model_that_onnx_runtime_does_not_take_as_it_came(read, network, pictures):
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    model.ir_version = onnx.IR_VERSION  # of the newest onnx, ahead of ONNX Runtime's
    if model.ir_version <= 13:
        pytest.skip("this onnx writes what ONNX Runtime reads")
    with pytest.raises(ModelError, match=r"(?s)does not run on ONNX Runtime as it came.*IR version"):
        read(model, pictures)


def test_inputs_of_another_shape_are_refused(read, network, pictures):
    with pytest.raises(DataError, match=r"(?s)wanted: .*3, 16, 16.*got: .*3, 12, 16"):
        read(network.model, pictures[:, :, :12])


def test_pictures_need_their_preprocessing(network, tmp_path):
    onnx.save_model(network.model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"(?s)without knowing.*--preprocess FILE\.json"):
        read_inputs(tmp_path / "model.onnx", f"images:{tmp_path}", None, QUIET)
