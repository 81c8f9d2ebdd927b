"""benchmarks/gpu.py on the CPU and on the stand-in for a GPU: all of it but the figures."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeproof.runtime.device.gpu import read_driver
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 0.02


@pytest.fixture
def gpu(script):
    return script("benchmarks/gpu.py")


@pytest.fixture
def gpu_report(script):
    return script("benchmarks/gpu_report.py")


@pytest.fixture
def gpu_options(script):
    return script("benchmarks/gpu_options.py")


@pytest.fixture
def gpu_speed(script):
    return script("benchmarks/gpu_speed.py")


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
        assert request.allow_fallback == (request.precision == "int8" and not request.engine.cuda_graph)


@pytest.mark.parametrize("provider", ["cpu", "cuda", "tensorrt"])
def test_proofs_and_speeds_of_every_way_become_a_document(gpu, machine, bundle, network, provider):
    requests = gpu.requests_for(provider, tuple(bundle.manifest.models))
    proofs = [gpu.prove(bundle, request) for request in requests]
    assert not any(proof.failed for proof in proofs)
    lines = gpu.race(bundle, requests, network, "cpu", 2, SECONDS, modes={})
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


def test_a_provider_that_cannot_be_used_is_a_line_and_a_failure(gpu, gpu_report, machine, bundle, network):
    machine.failing = {"CUDAExecutionProvider"}
    request = ProviderRequest("cuda", "fp32")
    proof = gpu.prove(bundle, request)
    assert proof.failed
    assert "not computed: The provider cuda cannot run this model here." in "".join(
        gpu_report.proof_cells(proof)
    )
    lines = gpu.race(bundle, [request], network, "cpu", 1, SECONDS, modes={})
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
    monkeypatch.setattr(gpu, "run_tests", lambda bundle, seconds: gpu.Tests(tests_passed, "9 passed"))
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
    assert text.count("## Options of the CUDA provider") == 1
    assert "All of it took" in text
    assert text.count("| ok |") == 8
    assert text.count("| torch.compile, CUDA graph fp16 | ") == 2


def test_the_tests_on_a_gpu_run_on_the_bundle_that_is_measured(gpu, bundle, monkeypatch):
    seen = []

    def run(command, **options):
        seen.append((command, options["env"][gpu.BUNDLE_VARIABLE]))
        return subprocess.CompletedProcess(command, 1, stdout="F\n1 failed in 2.00s\n")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    assert gpu.run_tests(bundle, 60) == gpu.Tests(False, "1 failed in 2.00s")
    ((command, folder),) = seen
    assert command[-3:-1] == ["-m", "gpu"]
    assert (ROOT / command[-1]).is_file()
    assert folder == str(bundle.folder)


def test_int8_that_a_graph_cannot_take_is_only_a_finding(gpu):
    refused = ProviderRequest("cuda", "int8", engine=EngineOptions(cuda_graph=True))
    assert not gpu.Proof(refused, None, "3 of 9 nodes do not run on cuda.").failed


def test_what_fails_half_way_is_a_line_and_the_others_go_on(gpu_speed, machine, bundle):
    class Failing:
        def warm_up(self, seconds):
            pass

        def measure(self, seconds):
            raise RuntimeError("out of memory")

        def speed(self):
            raise AssertionError("it measured nothing")

    openers = gpu_speed.our_openers(
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
    pytest.importorskip("torchvision")
    changed = dataclasses.replace(bundle.manifest, architecture="mobilenet_v3_small", form="small")
    found = gpu.network_of(dataclasses.replace(bundle, manifest=changed))
    assert next(iter(found.parameters())).shape[1] == 3


def never():
    return False


def always():
    return True


def batches_of(bundle, *sizes):
    return [np.resize(bundle.golden().input, (size, *bundle.golden().input.shape[1:])) for size in sizes]


def test_every_choice_of_options_is_measured_at_every_batch(gpu_options, machine, bundle):
    models = {precision: bundle.model_bytes(precision) for precision in ("fp32", "fp16")}
    rows = gpu_options.sweep(machine, models, batches_of(bundle, 1, 2), SECONDS, never)
    assert len(rows) == 2 * 3 * 2 * 2
    assert not [row.error for row in rows if row.error]
    assert all([step.batch for step in row.steps] == [1, 2] for row in rows)
    assert all(step.first_s > 0 and step.p50_ms > 0 for row in rows for step in row.steps)
    asked = [dict(settings) for session in machine.created for name, settings in session.providers]
    assert all({**row.choice}.items() <= settings.items() for row, settings in zip(rows, asked, strict=True))


def test_what_edgeproof_asks_for_is_one_of_the_choices_and_marked(gpu_options, gpu_report):
    for precision in gpu_options.PRECISIONS:
        assert gpu_options.chosen(precision) in gpu_options.CHOICES
        rows = [gpu_options.Row(precision, choice, error="not run") for choice in gpu_options.CHOICES]
        cells = [gpu_report.option_cells(row, 2) for row in rows]
        assert sum(row[0] == f"**{precision}**" for row in cells) == 1
        assert {len(row) for row in cells} == {10}


def test_a_choice_that_fails_is_a_row_that_says_why(gpu_options, gpu_report, machine, bundle):
    machine.failing = {"CUDAExecutionProvider"}
    models, samples = {"fp32": bundle.model_bytes("fp32")}, batches_of(bundle, 1)
    row, *_ = gpu_options.sweep(machine, models, samples, SECONDS, never)
    assert "CUDAExecutionProvider does not start" in gpu_report.option_cells(row, 1)[4]
    pair, *_ = gpu_options.alternate(machine, models, samples, SECONDS, never)
    assert "CUDAExecutionProvider does not start" in gpu_report.alternation_cells(pair)[2]


def test_alternating_batches_are_measured_beside_padded_ones(
    gpu_options, gpu_report, machine, bundle, monkeypatch
):
    models, seen = {"fp16": bundle.model_bytes("fp16")}, []

    def run(self, names, feeds):
        seen.append(len(next(iter(feeds.values()))))
        return self.real.run(names, feeds)

    monkeypatch.setattr(machine.session_class, "run", run, raising=False)
    found = gpu_options.alternate(machine, models, batches_of(bundle, 1, 4), SECONDS, never)
    assert [pair.search for pair in found] == ["EXHAUSTIVE", "HEURISTIC", "DEFAULT"]
    assert all(pair.as_they_come_ms > 0 and pair.padded_ms > 0 for pair in found)
    assert seen[:2] == [1, 4]
    assert seen[-2:] == [4, 4]
    assert set(seen) == {1, 4}
    assert len(gpu_report.alternation_cells(found[0])) == 5


def test_when_the_time_is_over_nothing_more_is_begun(gpu_options, gpu_speed, machine, bundle):
    models, samples = {"fp32": bundle.model_bytes("fp32")}, batches_of(bundle, 1)
    rows = gpu_options.sweep(machine, models, samples, SECONDS, always)
    pairs = gpu_options.alternate(machine, models, samples, SECONDS, always)
    openers = gpu_speed.our_openers(models, [ProviderRequest("cuda", "fp32")], samples[0])
    lines = gpu_speed.compete(openers, SECONDS, always)
    assert not machine.created
    assert {found.error for found in (*rows, *pairs, *lines)} == {"not run: the time was over"}


def test_tests_that_do_not_end_are_a_failure(gpu, bundle, monkeypatch):
    monkeypatch.setattr(gpu, "GPU_TESTS", "tests/runtime/test_gpu_session.py")
    assert gpu.run_tests(bundle, 0.01) == gpu.Tests(False, "not finished within 0 s")


def test_the_report_is_kept_as_it_grows(gpu, tmp_path):
    report = gpu.Report(tmp_path / "gpu.md")
    report.add(["# On a GPU", ""])
    report.add(["more"])
    assert (tmp_path / "gpu.md").read_text() == report.text == "# On a GPU\n\nmore\n"


def test_without_pytorchs_network_ours_alone_is_measured(gpu, machine, bundle):
    requests = gpu.requests_for("cuda", ("fp32",))
    lines = gpu.race(bundle, requests, None, "cpu", 1, SECONDS)
    assert [line.name for line in lines] == ["cuda fp32", "cuda fp32, CUDA graph"]


def test_figures_of_the_cpu_are_never_taken_for_the_gpus(gpu_options, machine, bundle, monkeypatch):
    """ONNX Runtime computes on the CPU in silence where the CUDA provider does not start."""
    monkeypatch.setattr(machine.session_class, "get_providers", lambda self: ["CPUExecutionProvider"])
    models = {"fp32": bundle.model_bytes("fp32")}
    rows = gpu_options.sweep(machine, models, batches_of(bundle, 1), SECONDS, never)
    assert all("would compute on the CPU" in row.error for row in rows)


def test_a_model_that_failed_at_export_is_not_held_to_pytorchs_answers(gpu, machine, bundle):
    entry = bundle.manifest.models["fp16"]
    unproven = dataclasses.replace(
        entry, parity=dataclasses.replace(entry.parity, passed=False, reason="far off")
    )
    models = {**bundle.manifest.models, "fp16": unproven}
    changed = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, models=models))
    proof = gpu.prove(changed, ProviderRequest("cuda", "fp16"))
    assert (proof.replay, proof.error) == (None, "its parity with PyTorch failed at export")
