"""The commands of the top floor, as a user types them."""

import json

import onnx
import pytest

from edgeproof.runtime import Bundle


def test_models_lists_all(edgeproof):
    done = edgeproof("models", "--json")
    listed = json.loads(done.stdout)
    assert done.returncode == 0
    assert listed["registry"]["mobilenet_v3_large"]["aliases"] == ["mobilenet_v3"]
    assert "resnet18" in listed["torchvision"]
    assert "file.py:factory" in edgeproof("models").stdout


@pytest.fixture(scope="module")
def exported(edgeproof, tiny_network, tmp_path_factory):
    """What an export with options other than the default printed, and its bundle."""
    out = tmp_path_factory.mktemp("exported") / "tiny"
    options = ("--precision", "fp32,int8", "--target", "cpu", "--max-drop", "7.5", "--evaluation", "40")
    done = edgeproof("export", tiny_network, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    return done, Bundle.open(out)


def test_an_export_does_what_its_options_say(exported):
    manifest = exported[1].manifest
    evidence = json.loads((exported[1].folder / "evidence.json").read_text())
    assert set(manifest.models) == {"fp32", "int8"}
    assert manifest.target == evidence["request"]["target"] == "cpu"
    assert evidence["request"]["max_drop"] == 7.5
    assert "budget of 7.5" in manifest.verdict.why
    assert manifest.data["evaluation"]["count"] == manifest.models["int8"].accuracy.samples == 40


def test_an_int8_model_is_of_the_target_that_was_asked_for(exported, tiny_bundle):
    """For the CPU activations are uint8, with a zero point; for TensorRT int8, without one."""
    kinds = []
    for bundle in (exported[1], tiny_bundle):
        model = onnx.load_from_string(bundle.model_bytes("int8"))
        types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        points = [node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"]
        kinds.append({types[name] for name in points})
    assert kinds == [{onnx.TensorProto.UINT8}, {onnx.TensorProto.INT8}]


def test_export_prints_its_table_on_stdout_and_its_progress_on_stderr(exported):
    done, _ = exported
    assert "ship int8" in done.stdout
    assert "✓ export" in done.stderr
    assert "✓" not in done.stdout


def test_export_prints_json_for_machines(edgeproof, tiny_network, tmp_path):
    done = edgeproof("export", tiny_network, "--precision", "fp32", "--out", tmp_path / "tiny", "--json")
    assert json.loads(done.stdout)["models"]["fp32"]["parity"]["passed"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilnet_v3"], "mobilenet_v3"),
        (["mobilenet_v3", "--weights", "absent.pth"], "no weights file absent.pth"),
        (["mobilenet_v3", "--data", "digit"], "did you mean digits"),
        (["mobilenet_v3", "--precision", "int4"], "--precision fp32,fp16,int8"),
        (["mobilenet_v3", "--input", "224"], "CxHxW"),
        (["mobilenet_v3", "--preprocess", "absent.json"], "absent.json"),
        (["mobilenet_v3", "--evaluation", "0"], "evaluation"),
        ([], "MODEL"),
    ],
)
def test_bad_usage_ends_with_2_and_one_message(edgeproof, tmp_path, arguments, message):
    done = edgeproof("export", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_failed_proof_ends_with_1(edgeproof, tmp_path):
    file = tmp_path / "batchy.py"
    file.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Batchy(nn.Module):\n"
        '    """Its export multiplies by the batch size of the example."""\n'
        "    def forward(self, x):\n"
        "        factor = x.shape[0] if not torch.compiler.is_exporting() else 2\n"
        "        return x.flatten(1)[:, 1000:1010] * factor\n"
        "def batchy():\n    return Batchy()\n"
    )
    done = edgeproof("export", f"{file}:batchy", "--weights", "factory", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not give PyTorch's answers" in done.stderr
    assert not (tmp_path / "artifacts").exists()
