"""The middle floor's commands, as a user types them."""

import json

import onnx
import pytest
import typer
from typer.testing import CliRunner

from edgeproof.calibration import cli
from edgeproof.calibration.preflight import check as module
from edgeproof.calibration.preflight import handed_over
from edgeproof.calibration.preflight.check import PreflightResult
from edgeproof.calibration.preflight.handed_over import HandedOver
from edgeproof.calibration.preflight.refusals import Refusal
from edgeproof.runtime import cli as runtime_cli
from edgeproof.runtime.errors import InputError

ACCEPTED = PreflightResult("pretended 1", ("86",), {}, (), ("a remark",), 1.25)
REFUSED = PreflightResult(
    "pretended 1", ("86",), {}, (Refusal("Relu 'r'", "too blue", "paint it"),) * 12, (), 0.5
)


@pytest.fixture
def preflight():
    """preflight(*arguments) in this process."""
    app = typer.Typer()
    cli.register(app)
    runtime_cli.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["preflight", *map(str, arguments)])


@pytest.fixture
def compiler(monkeypatch):
    """Pretends a compiler with these results, one a model, and remembers its requests."""
    requests = []

    def pretend(*results):
        left = iter(results)

        def check(model, request):
            requests.append(request)
            return next(left)

        monkeypatch.setattr(module, "preflight", check)
        monkeypatch.setattr(handed_over, "preflight_handed_over", lambda *_: HandedOver(ACCEPTED))
        return requests

    return pretend


@pytest.fixture
def model(vector, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(vector("y = Relu(x)").data)
    return path


def test_an_accepted_model_ends_well(preflight, compiler, model):
    requests = compiler(ACCEPTED)
    done = preflight(model, "--capability", 86, "--capability", 120, "--batch", "1,2,4", "--input", "3x8x8")
    assert done.exit_code == 0, done.output
    assert done.output == (
        "model.onnx: accepted by pretended 1 in 1.2 s\n  built for SM86\n"
        "  as ONNX Runtime hands it over: accepted too, no larger engine\n  remark: a remark\n"
    )
    assert (requests[0].capabilities, requests[0].batch) == (("86", "120"), (1, 2, 4))
    assert requests[0].sides == (3, 8, 8)


def test_a_refused_model_fails_with_its_nodes_and_remedies(preflight, compiler, model):
    compiler(REFUSED)
    done = preflight(model)
    assert done.exit_code == 1
    assert "model.onnx: REFUSED by pretended 1" in done.output
    assert done.output.count("  Relu 'r': too blue\n    to do: paint it\n") == 10
    assert "and 2 more" in done.output


def test_json_holds_everything(preflight, compiler, model):
    compiler(REFUSED)
    done = preflight(model, "--json")
    found = json.loads(done.output)["model.onnx"]
    assert done.exit_code == 1
    assert found["accepted"] is False
    assert found["refusals"][11] == {
        "node": "Relu 'r'",
        "why": "too blue",
        "advice": "paint it",
        "capability": "",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "1,8"], "not a batch profile"),
        (["--batch", "8,1,32"], "out of order"),
        (["--batch", "a,b,c"], "cannot be read"),
        (["--batch", "0,1,2"], "cannot be read"),
        (["--input", "3x"], "cannot be read"),
        (["--precision", "fp16"], "no precision can be chosen"),
    ],
)
def test_bad_requests_are_refused_before_the_compiler_starts(preflight, compiler, model, arguments, message):
    compiler()
    done = preflight(model, *arguments)
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert done.exception.exit_status == 2


def test_a_model_that_is_not_there(preflight, compiler, tmp_path):
    compiler()
    assert "absent.onnx cannot be read" in str(preflight(tmp_path / "absent.onnx").exception)


def test_a_folder_that_is_no_bundle(preflight, compiler, tmp_path):
    compiler()
    assert "not a bundle" in str(preflight(tmp_path).exception)


def test_the_whole_command_with_nvidias_compiler(edgeproof, model, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="NVIDIA's compiler is not installed")
    done = edgeproof("preflight", model)
    assert (done.returncode, done.stderr) == (0, "")
    assert "model.onnx: accepted by tensorrt-rtx 1." in done.stdout
    changed = onnx.load_model(model)
    changed.graph.node[0].op_type = "Det"
    onnx.save_model(changed, tmp_path / "changed.onnx")
    done = edgeproof("preflight", tmp_path / "changed.onnx")
    assert done.returncode == 1
    assert "Det 'node_y': TensorRT does not support the operator Det" in done.stdout


def test_the_whole_command_on_a_file_that_is_no_model(edgeproof, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    done = edgeproof("preflight", tmp_path / "model.onnx")
    assert done.returncode == 2
    assert "is not an ONNX model" in done.stderr
