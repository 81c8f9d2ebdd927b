"""`edgeproof sensitivity`: the layers of a model by what INT8 does to each."""

import json

import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from edgeproof.calibration import cli
from edgeproof.calibration.dataset.load import read_inputs
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.sensitivity import rank, summarize
from edgeproof.runtime import cli as runtime_cli
from edgeproof.runtime.errors import DataError, InputError, ModelError

QUIET = Progress(quiet=True)


@pytest.fixture
def save(tmp_path, pictures):
    """Saves a model and inputs, and gives both paths."""

    def save(model, inputs=pictures):
        onnx.save_model(model, tmp_path / "model.onnx")
        np.savez(tmp_path / "inputs.npz", inputs)
        return tmp_path / "model.onnx", str(tmp_path / "inputs.npz")

    return save


@pytest.fixture
def sensitivity():
    """sensitivity(*arguments) in this process."""
    app = typer.Typer()
    cli.register(app)
    runtime_cli.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["sensitivity", *map(str, arguments)])


def test_every_layer_has_its_place_the_worst_first(save, network):
    ranked = rank(read_inputs(*save(network.model), None, QUIET), QUIET)

    errors = [layer.error for layer in ranked]
    assert {layer.node for layer in ranked} == {"conv", "depthwise", "excite", "logits"}
    assert errors == sorted(errors, reverse=True)
    assert all(0 < error < 0.2 for error in errors)


def test_a_layer_with_outliers_at_its_input_is_the_worst(save, vector, rng):
    inputs = rng(3).standard_normal((32, 4)).astype(np.float32)
    inputs[:, 0] *= 1000  # sets the range, and means nothing to the layer
    deaf = np.diag(np.float32([0, 1, 1, 1]))
    model = vector("h = Gemm(x, deaf) y = Gemm(h, w)", deaf=deaf, w=np.eye(4, dtype=np.float32)).model

    worst, other = rank(read_inputs(*save(model, inputs), None, QUIET), QUIET)

    assert (worst.node, other.node) == ("h", "y")
    assert worst.error > 10 * other.error


def test_the_table_and_json_say_the_same(save, sensitivity, network):
    model, inputs = save(network.model)

    table = sensitivity(model, "--calibration", inputs)
    done = sensitivity(model, "--calibration", inputs, "--json")

    assert (table.exit_code, done.exit_code) == (0, 0), done.output
    found = json.loads(done.stdout)
    rows = [line.split(maxsplit=2) for line in table.stdout.splitlines()]
    assert rows[0] == ["error", "share", "layer"]
    assert [row[2] for row in rows[1:]] == [entry["layer"] for entry in found]
    assert {entry["layer"] for entry in found} >= {"Conv 'node_conv'", "Gemm 'node_logits'"}
    assert [f"{entry['relative_l2']:.4f}" for entry in found] == [row[0] for row in rows[1:]]
    assert sum(entry["share"] for entry in found) == pytest.approx(1)


def test_a_final_softmax_changes_nothing(save, network, change_network):
    last = "logits = Gemm<transB=1>(flat, head_w, head_b)"
    softmax = change_network(last, f"{last.replace('logits', 'scores')} logits = Softmax(scores)")

    plain = rank(read_inputs(*save(network.model), None, QUIET), QUIET)
    ended = rank(read_inputs(*save(softmax.model), None, QUIET), QUIET)

    assert [layer.error for layer in ended] == [layer.error for layer in plain]


def test_layers_that_int8_does_not_harm_share_nothing(save, change_network, network_weights):
    weights = {name: np.zeros_like(values) for name, values in network_weights.items()}
    model = change_network(**weights).model

    ranked = rank(read_inputs(*save(model), None, QUIET), QUIET)

    assert {layer.error for layer in ranked} == {0}
    assert summarize(ranked).count(" 0.0%") == 4


def test_a_model_without_layers_is_refused(save, sensitivity, build, pictures):
    model = build("g (float[batch,3,16,16] x) => (float[batch,3,16,16] y) { y = Relu(x) }").model
    done = sensitivity(save(model)[0], "--calibration", save(model)[1])
    assert isinstance(done.exception, ModelError)
    assert "no Conv, Gemm or MatMul to quantize" in str(done.exception)


def test_inputs_of_another_shape_are_refused(save, sensitivity, network, pictures):
    model, inputs = save(network.model, pictures[:, :1])
    done = sensitivity(model, "--calibration", inputs)
    assert isinstance(done.exception, DataError)
    assert "does not hold inputs of the model" in str(done.exception)


@pytest.mark.parametrize("absent", ["model", "inputs"])
def test_files_that_are_not_there(save, sensitivity, network, tmp_path, absent):
    model, inputs = save(network.model)
    (tmp_path / ("model.onnx" if absent == "model" else "inputs.npz")).unlink()
    done = sensitivity(model, "--calibration", inputs)
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_status == 2


def test_the_whole_command(edgeproof, save, network):
    model, inputs = save(network.model)
    done = edgeproof("sensitivity", model, "--calibration", inputs)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert "rank" in done.stderr
