import json
import os
import shutil
from types import SimpleNamespace

import onnxruntime
import pytest

from edgeproof.runtime import doctor
from edgeproof.runtime.device.remedies import missing_onnxruntime
from edgeproof.runtime.doctor import Finding, examine, text
from edgeproof.runtime.records import encode


def nothing(name):
    raise OSError(f"{name}: cannot open shared object file")


def no_onnxruntime(root):
    raise missing_onnxruntime(ModuleNotFoundError("No module named 'onnxruntime'"), root)


def by_topic(findings):
    return {finding.topic: finding for finding in findings}


@pytest.fixture
def jetson(tmp_path):
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
        "var/lib/nvpmodel/status": "pmode:0000",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    }
    for file, content in zip(("cur_freq", "min_freq", "max_freq"), ("306", "306", "1020"), strict=True):
        files[f"sys/class/devfreq/17000000.gpu/{file}"] = content + "000000\n"
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_machine_with_nothing_gets_a_whole_report(tmp_path):
    found = by_topic(examine(tmp_path, nothing, no_onnxruntime))
    assert found["driver"].state == found["ONNX Runtime"].state == "missing"
    assert found["JetPack"].value == "not a Jetson"
    assert {"machine", "cache"} <= set(found)


def test_every_lack_has_a_line_to_type(tmp_path):
    for ort in (no_onnxruntime, lambda root: onnxruntime):
        for finding in examine(tmp_path, nothing, ort):
            assert finding.todo or finding.state != "missing", finding


def test_what_is_missing_on_this_machine_is_what_cannot_be_loaded(tmp_path):
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no GPU providers")
    findings = examine(tmp_path, nothing)
    found = by_topic(findings)
    assert found["driver"].state == found["TensorRT"].state == found["cuDNN"].state == "missing"
    assert "libnvinfer.so.10" in found["TensorRT"].value
    told = [finding.value for finding in findings if "provider" not in finding.topic]
    for library in ("libcuda.so", "libcudart.so", "libcudnn.so", "libnvinfer.so", "libcublas.so"):
        assert sum(library in value for value in told) == 1, f"{library} is told once"


def test_a_provider_is_told_usable_when_it_runs_a_model(tmp_path):
    found = by_topic(examine(tmp_path, nothing))
    assert found["provider cpu"] == Finding("provider cpu", "ok", "runs a model")


def test_providers_that_are_listed_but_do_not_run_are_missing(machine, tmp_path):
    machine.broken = {"tensorrt": ["libnvinfer.so.10"]}
    found = by_topic(examine(tmp_path, nothing, lambda root: machine))
    assert found["provider cuda"].state == "ok"
    assert found["provider tensorrt"].state == "missing"
    assert "libnvinfer.so.10" in found["provider tensorrt"].value
    machine.available = ["CPUExecutionProvider"]
    assert by_topic(examine(tmp_path, nothing, lambda root: machine))["provider cuda"].state == "note"


def test_the_libraries_of_every_provider_are_looked_for(machine, tmp_path):
    """The parser's are TensorRT's alone: CUDA's provider does not need them."""
    machine.broken = {"tensorrt": ["libnvinfer.so.10", "libnvonnxparser.so.10"], "cuda": ["libcublas.so.12"]}
    found = by_topic(examine(tmp_path, nothing, lambda root: machine))
    assert "libnvinfer.so.10" in found["TensorRT"].value
    for topic in ("TensorRT", "libnvonnxparser.so.10", "libcublas.so.12"):
        assert found[topic].state == "missing"
        assert found[topic].todo


def test_a_jetson_tells_its_system_power_mode_and_clocks(jetson):
    found = by_topic(examine(jetson, nothing, no_onnxruntime))
    assert "NVIDIA Jetson Orin Nano" in found["machine"].value
    assert found["JetPack"] == Finding(
        "JetPack", "missing", "Jetson Linux 36.4.3 alone", "sudo apt install nvidia-jetpack"
    )
    assert found["power mode"].value == "0 (15W)"
    assert found["power mode"].todo.startswith("sudo nvpmodel -m 2 ")
    assert "306 MHz, may move from 306 to 1020" in found["clock GPU"].value
    assert "jetson_clocks" in found["clock GPU"].todo
    assert "made for Jetson Linux 36.4.3" in found["ONNX Runtime"].todo


def test_an_onnxruntime_that_cannot_be_loaded_is_not_called_absent(jetson):
    def load(root):
        raise missing_onnxruntime(ImportError("numpy.core.multiarray failed to import"), root)

    found = by_topic(examine(jetson, nothing, load))["ONNX Runtime"]
    assert "multiarray failed to import" in found.value
    assert "numpy<2" in found.todo


def test_nothing_is_to_be_done_in_the_fastest_mode(jetson):
    (jetson / "var/lib/nvpmodel/status").write_text("pmode:0002")
    found = by_topic(examine(jetson, nothing, no_onnxruntime))["power mode"]
    assert (found.value, found.todo) == ("2 (MAXN_SUPER)", "")


def test_clocks_that_are_fixed_are_ok(jetson):
    (jetson / "sys/class/devfreq/17000000.gpu/min_freq").write_text("1020000000")
    assert by_topic(examine(jetson, nothing, no_onnxruntime))["clock GPU"].state == "ok"


def test_two_builds_of_onnxruntime_are_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "1.31.1")
    findings = examine(tmp_path, nothing)
    (fault,) = [f for f in findings if f.topic == "ONNX Runtime" and f.state == "missing"]
    assert "overwrite each other" in fault.value
    assert "pip uninstall onnxruntime onnxruntime-gpu" in fault.todo


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    found = by_topic(examine(tmp_path, nothing, no_onnxruntime))["cache"]
    assert (found.state, bool(found.todo)) == ("missing", True)


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = by_topic(examine(tmp_path, nothing, no_onnxruntime))["cache"]
    assert "EDGEPROOF_CACHE" in found.todo


def test_a_cache_that_is_not_there_yet_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))
    found = by_topic(examine(tmp_path, nothing, no_onnxruntime))["cache"]
    assert (found.state, found.todo) == ("ok", "")
    assert not (tmp_path / "not").exists()


def test_the_text_has_each_finding_and_what_to_type():
    findings = [Finding("driver", "missing", "not there", "first\nsecond"), Finding("GPU 0", "ok", "Orin")]
    assert text(findings).splitlines() == [
        "missing driver  not there",
        "                to do: first",
        "                to do: second",
        "ok      GPU 0   Orin",
    ]


def test_the_command_prints_text_or_json_and_succeeds(edgeproof):
    plain, machine = edgeproof("doctor"), edgeproof("doctor", "--json")
    assert (plain.returncode, machine.returncode) == (0, 0)
    assert plain.stderr == ""
    findings = json.loads(machine.stdout)
    assert {"topic", "state", "value", "todo"} == set(findings[0])
    assert all(finding["topic"] in plain.stdout for finding in findings)


def test_the_findings_are_plain_json(tmp_path):
    assert json.loads(json.dumps(encode(examine(tmp_path, nothing, no_onnxruntime))))
