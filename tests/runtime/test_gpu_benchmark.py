"""benchmarks/gpu.py on the CPU and on the stand-in for a GPU: all of it but the figures."""

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproof.runtime.gpu import read_driver
from edgeproof.runtime.providers import ProviderRequest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 0.02


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


@pytest.fixture
def gpu_speed(gpu):
    return importlib.import_module("gpu_speed")


@pytest.fixture
def network():
    torch = pytest.importorskip("torch")
    pool = torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(pool, torch.nn.Flatten(), torch.nn.Linear(3, 4))


@pytest.mark.skipif(not read_driver().problem, reason="this machine has a GPU")
def test_without_a_gpu_it_leaves_with_what_is_missing():
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Nothing can be measured on a GPU here" in done.stderr
    assert "edgeproof doctor" in done.stderr


def test_every_precision_goes_without_and_with_a_graph(gpu, gpu_speed):
    names = [gpu_speed.name_of(request) for request in gpu.requests_for("cuda", ("fp32", "int8"))]
    assert names == ["cuda fp32", "cuda int8", "cuda fp32, CUDA graph", "cuda int8, CUDA graph"]
    assert [gpu_speed.name_of(request) for request in gpu.requests_for("cpu", ("fp32",))] == ["cpu fp32"]


def test_only_int8_without_a_graph_may_leave_nodes_elsewhere(gpu):
    for request in gpu.requests_for("cuda", ("fp32", "fp16", "int8")):
        assert request.allow_fallback == (request.precision == "int8" and not request.cuda_graph)


@pytest.mark.parametrize("provider", ["cpu", "cuda", "tensorrt"])
def test_proofs_and_speeds_of_every_way_become_a_document(gpu, machine, bundle, network, provider):
    requests = gpu.requests_for(provider, tuple(bundle.manifest.models))
    proofs = [gpu.prove(bundle, request) for request in requests]
    assert not any(proof.failed for proof in proofs)
    lines = gpu.race(machine, bundle, requests, network, "cpu", 2, SECONDS, modes={})
    assert all(line.speed for line in lines), lines
    text = "\n".join(
        [
            *gpu.heading(machine, machine.driver, bundle, absent=""),
            *gpu.proof_section(gpu.Tests(True, "9 passed"), proofs),
            *gpu.speed_section(2, lines, SECONDS),
        ]
    )
    assert "Orin" in text
    assert text.count("| ok |") == len(requests)
    assert f"| {provider} fp16 | {provider} |" in text
    assert "| torch eager fp32 | cpu |" in text
    assert text.count("times as fast as torch eager fp") == 2
    assert "not measured" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6, 9}


def test_a_provider_that_cannot_be_used_is_a_line_and_a_failure(gpu, machine, bundle, network):
    machine.failing = {"CUDAExecutionProvider"}
    request = ProviderRequest("cuda", "fp32")
    proof = gpu.prove(bundle, request)
    assert proof.failed
    assert "not computed: The provider cuda cannot run this model here." in "".join(gpu.proof_cells(proof))
    lines = gpu.race(machine, bundle, [request], network, "cpu", 1, SECONDS, modes={})
    (failed,) = (line for line in lines if not line.speed)
    assert failed.name == "cuda fp32"
    assert "not measured: RuntimeError: CUDAExecutionProvider does not start" in "\n".join(
        gpu.speed_section(1, lines, SECONDS)
    )


@pytest.mark.parametrize("tests_passed", [True, False])
def test_the_command_writes_all_of_it(gpu, machine, bundle, network, monkeypatch, tmp_path, tests_passed):
    """PyTorch cannot reach the stand-in's GPU: its lines say so, and the rest is there."""
    monkeypatch.setattr(gpu, "usable_or_leave", lambda: (machine, machine.driver))
    monkeypatch.setattr(gpu, "network_of", lambda bundle: network)
    monkeypatch.setattr(gpu, "run_tests", lambda bundle: gpu.Tests(tests_passed, "9 passed"))
    written = tmp_path / "gpu.md"
    monkeypatch.setattr(
        sys,
        "argv",
        ["gpu.py", str(bundle.folder), "--batch", "1,2", "--seconds", "0.02", "--write", str(written)],
    )
    with pytest.raises(SystemExit) as left:
        gpu.main()
    assert left.value.code == (not tests_passed)
    text = written.read_text()
    assert text.count("## Speed, batch ") == 2
    assert text.count("| ok |") == 8
    assert text.count("| torch.compile, CUDA graph fp16 | ") == 2


def test_the_tests_on_a_gpu_run_on_the_bundle_that_is_measured(gpu, bundle, monkeypatch):
    seen = []

    def run(command, **options):
        seen.append((command, options["env"][gpu.BUNDLE_VARIABLE]))
        return subprocess.CompletedProcess(command, 1, stdout="F\n1 failed in 2.00s\n")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    assert gpu.run_tests(bundle) == gpu.Tests(False, "1 failed in 2.00s")
    ((command, folder),) = seen
    assert command[-3:] == ["-m", "gpu", "tests/runtime"]
    assert folder == str(bundle.folder)


def test_int8_that_a_graph_cannot_take_is_only_a_finding(gpu):
    refused = ProviderRequest("cuda", "int8", cuda_graph=True)
    assert not gpu.Proof(refused, None, "3 of 9 nodes do not run on cuda.").failed


def test_what_fails_half_way_is_a_line_and_the_others_go_on(gpu_speed, machine, bundle):
    class Failing:
        def warm_up(self, seconds):
            pass

        def take_turn(self, seconds):
            raise RuntimeError("out of memory")

        def speed(self):
            raise AssertionError("it measured nothing")

    openers = gpu_speed.our_openers(
        machine,
        {"fp32": bundle.model_bytes("fp32")},
        [ProviderRequest("cuda", "fp32")],
        bundle.golden().input[:1],
    )
    failed, measured = gpu_speed.compete({"failing": Failing, **openers}, SECONDS)
    assert (failed.speed, failed.error) == (None, "RuntimeError: out of memory")
    assert measured.speed.latency.samples >= 10


def test_tensorrt_is_left_out_with_the_reason(gpu, machine):
    assert gpu.present_providers(machine) == (["cuda", "tensorrt"], "")
    machine.broken = {"tensorrt": ["libnvinfer.so.10"]}
    providers, absent = gpu.present_providers(machine)
    assert providers == ["cuda"]
    assert "libnvinfer.so.10" in absent


def test_pytorchs_scores_come_back_to_the_processs_memory(gpu_speed, network):
    import torch

    samples = torch.rand(2, 3, 8, 8).numpy()
    side = gpu_speed.torch_openers(network, samples, "cpu", modes={})["torch eager fp32"]()
    with torch.inference_mode():
        expected = network(torch.from_numpy(samples)).numpy()
    assert side.scores() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_network_of_a_bundle_is_its_architecture(gpu, bundle):
    pytest.importorskip("torch")
    changed = dataclasses.replace(bundle.manifest, architecture="mobilenet_v3_small", form="small")
    found = gpu.network_of(dataclasses.replace(bundle, manifest=changed))
    assert next(iter(found.parameters())).shape[1] == 3
