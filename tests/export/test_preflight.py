"""Pre-flight as a stage of the export: recorded, or the reason to stop; never taken for granted."""

import pytest

from edgeproof.calibration.preflight import check as module
from edgeproof.calibration.preflight.check import is_installed
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.stages import preflight
from edgeproof.runtime.bundle.manifest import Preflight
from edgeproof.runtime.errors import ProofError

REFUSING = """
import json
from pathlib import Path
problem = {"name": "", "operator": "", "why": "not on a Tuesday"}
build = {"capability": "86", "seconds": 0.0, "problems": [problem]}
Path("answer.json").write_text(json.dumps({"compiler": "pretended 1", "warnings": [], "builds": [build]}))
"""


@pytest.fixture
def request_for(tiny_network, tmp_path):
    return ExportRequest(model=tiny_network, out=tmp_path / "tiny", precisions=("fp32",))


def test_without_a_compiler_nothing_is_said_to_be_accepted(request_for, progress, monkeypatch):
    monkeypatch.setattr(preflight, "is_installed", lambda: False)
    bundle = export_bundle(request_for, progress)
    assert bundle.manifest.models["fp32"].preflight == Preflight(None, None, "not checked")


def test_a_refusal_stops_the_export(request_for, progress, monkeypatch, tmp_path):
    (tmp_path / "pretended.py").write_text(REFUSING)
    monkeypatch.setattr(preflight, "is_installed", lambda: True)
    monkeypatch.setattr(module, "COMMAND", (module.sys.executable, str(tmp_path / "pretended.py")))
    with pytest.raises(ProofError, match="fp32 model") as caught:
        export_bundle(request_for, progress)
    assert "not on a Tuesday" in caught.value.details["got"]
    assert not request_for.out.exists()


def test_every_precision_of_a_bundle_has_its_word(tiny_bundle, edgeproof):
    if not is_installed():
        pytest.skip("NVIDIA's compiler is not installed")
    for entry in tiny_bundle.manifest.models.values():
        assert entry.preflight.accepted
        words = entry.preflight.message.split("; ")
        assert words[0] == "built for SM86, input 1x3x32x32 / 8x3x32x32 / 32x3x32x32"
        assert words[-1].startswith("as ONNX Runtime hands it over: accepted too")
    done = edgeproof("preflight", tiny_bundle.folder, "--batch", "1,1,1")
    assert done.returncode == 0, done.stdout + done.stderr
    heads = [line.split(":")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert heads == ["fp32", "fp16", "int8"]
