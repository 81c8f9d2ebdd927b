"""Every precision on a GPU: where its nodes run, whether its answers are PyTorch's, and how fast it is.

    python benchmarks/gpu.py [BUNDLE] [--batch N,N] [--seconds S] [--write FILE.md]

Runs the tests marked `gpu`, replays the golden inputs, and measures ONNX Runtime's CUDA provider, and
TensorRT's where its libraries are, with and without a CUDA graph, beside PyTorch eager and torch.compile.
Without a BUNDLE it exports MobileNetV2 with random weights, which are as fast as others; PyTorch's network
has fresh weights. How they are measured stands in gpu_speed.py.

Exit status: 0 done; 1 a test or a proof failed; 2 this machine cannot do it.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from gpu_speed import COMPILE_MODES, Line, compete, name_of, our_openers, torch_openers

from edgeproof.runtime.bench import parse_batches
from edgeproof.runtime.bundle import Bundle
from edgeproof.runtime.errors import EdgeproofError
from edgeproof.runtime.gpu import Driver
from edgeproof.runtime.libraries import cuda_version, cudnn_version, tensorrt_version
from edgeproof.runtime.opening import ensure_usable
from edgeproof.runtime.providers import ProviderRequest
from edgeproof.runtime.session import load_onnxruntime
from edgeproof.runtime.verification import Replay, verify

ROOT = Path(__file__).resolve().parents[1]
EXPORTED = ROOT / "artifacts" / "gpu" / "mobilenet_v2"
EXPORT = ["mobilenet_v2", "--weights", "random", "--data", "digits", "--form", "standard"]
EXPORT += ["--evaluation", "32", "--recover", "off"]
BUNDLE_VARIABLE = "EDGEPROOF_GPU_BUNDLE"  # where the tests marked gpu look for a bundle
BASE = "torch eager fp32"


@dataclass(frozen=True)
class Tests:
    """How the tests marked gpu ended: pytest's last line, and whether all passed."""

    passed: bool
    summary: str


@dataclass(frozen=True)
class Proof:
    """A replay of the golden inputs; `error` says why there was none."""

    request: ProviderRequest
    replay: Replay | None
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether this is a failure; that a provider leaves nodes of INT8 to the CPU is only a finding."""
        return not self.replay and (self.replay is not None or self.request.precision != "int8")


def main() -> None:
    """Check the machine, test, prove, measure, print, and write where asked."""
    options = parsed()
    ort, driver = usable_or_leave()
    try:
        bundle = Bundle.open(options.bundle or exported())
        network = network_of(bundle)
        batches = parse_batches(options.batch)
        providers, absent = present_providers(ort)
        tests = run_tests(bundle)
        requests = [r for name in providers for r in requests_for(name, tuple(bundle.manifest.models))]
        proofs = [prove(bundle, request) for request in requests]
        sections = [*heading(ort, driver, bundle, absent), *proof_section(tests, proofs)]
        for batch in batches:
            lines = race(ort, bundle, requests, network, "cuda", batch, options.seconds)
            sections += speed_section(batch, lines, options.seconds)
    except EdgeproofError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    report = "\n".join(sections)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")
    sys.exit(not tests.passed or any(proof.failed for proof in proofs))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    parser.add_argument("--batch", default="1,8", metavar="N,N", help="sizes of batch (default 1,8)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="for each (default 5)")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the report there too")
    options = parser.parse_args()
    if not 0 < options.seconds < math.inf:
        parser.error("--seconds must be more than 0")
    return options


def usable_or_leave() -> tuple[Any, Driver]:
    """onnxruntime and the driver where CUDA can be used; else the process ends with what is missing."""
    try:
        ort = load_onnxruntime()
        return ort, ensure_usable(ort, "cuda")
    except EdgeproofError as error:
        print(f"error: Nothing can be measured on a GPU here. {error}", file=sys.stderr)
        sys.exit(2)


def exported() -> Path:
    """The bundle of MobileNetV2, which is made when it is first needed."""
    if not EXPORTED.exists():
        command = [sys.executable, "-m", "edgeproof.export", "export", *EXPORT, "--out", str(EXPORTED)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return EXPORTED


def present_providers(ort: Any) -> tuple[list[str], str]:
    """CUDA, and TensorRT where it can be used; else why it cannot."""
    try:
        ensure_usable(ort, "tensorrt")
    except EdgeproofError as error:
        return ["cuda"], one_line(error)
    return ["cuda", "tensorrt"], ""


def run_tests(bundle: Bundle) -> Tests:
    """Run the tests marked gpu on a bundle, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/runtime"]
    environment = {**os.environ, BUNDLE_VARIABLE: str(bundle.folder.resolve())}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    print(done.stdout, file=sys.stderr)
    return Tests(not done.returncode, (done.stdout.splitlines() or ["no output"])[-1])


def requests_for(provider: str, precisions: Sequence[str]) -> list[ProviderRequest]:
    """Each precision on a provider, without and with a CUDA graph.

    Without a graph, INT8 may leave nodes elsewhere, to show where they are; a graph takes all nodes or none.
    """
    graphs = (False,) if provider == "cpu" else (False, True)
    return [
        ProviderRequest(
            provider, precision, cuda_graph=graph, allow_fallback=precision == "int8" and not graph
        )
        for graph in graphs
        for precision in precisions
    ]


def prove(bundle: Bundle, request: ProviderRequest) -> Proof:
    """Replay the golden inputs."""
    try:
        return Proof(request, verify(bundle, request.precision, request))
    except EdgeproofError as error:
        return Proof(request, None, one_line(error))


def network_of(bundle: Bundle) -> Any:
    """The bundle's architecture in PyTorch, with fresh weights."""
    from edgeproof.export.fitting import choose_form
    from edgeproof.export.models import registry

    spec = registry.find(bundle.manifest.architecture)
    form = choose_form(spec, bundle.manifest.form, small_data=False)
    return form.build(len(bundle.manifest.labels))


def race(
    ort: Any,
    bundle: Bundle,
    requests: Sequence[ProviderRequest],
    network: Any,
    device: str,
    batch: int,
    seconds: float,
    modes: Mapping[str, str] = COMPILE_MODES,
) -> list[Line]:
    """All requests and PyTorch's ways, with one batch of golden inputs."""
    golden = bundle.golden().input
    samples = np.ascontiguousarray(np.resize(golden, (batch, *golden.shape[1:])))
    models = {request.precision: bundle.model_bytes(request.precision) for request in requests}
    ours = our_openers(ort, models, requests, samples)
    return compete({**torch_openers(network, samples, device, modes), **ours}, seconds)


def heading(ort: Any, driver: Driver, bundle: Bundle, absent: str) -> list[str]:
    """Title, date, device and versions."""
    import torch

    gpu = driver.gpus[0]
    tensorrt = tensorrt_version(ort)
    return [
        "# On a GPU",
        "",
        f"Written by `make gpu-test` on {date.today().isoformat()}.",
        "",
        f"- {gpu.name}, compute capability {gpu.capability}, {gpu.memory / 2**30:.0f} GiB; driver "
        f"{driver.version or 'of unknown version'}",
        f"- ONNX Runtime {ort.__version__}, CUDA {cuda_version(ort)}, cuDNN {cudnn_version()}, TensorRT "
        f"{'.'.join(map(str, tensorrt)) if tensorrt else 'not there'}; PyTorch {torch.__version__}",
        f"- {bundle.manifest.architecture}, input {'x'.join(map(str, bundle.manifest.input.shape[1:]))}",
        *([f"- **TensorRT did not run:** {absent}"] if absent else []),
        "- Not covered here: a Jetson, the DLA, a second GPU.",
        "",
    ]


def proof_section(tests: Tests, proofs: Sequence[Proof]) -> list[str]:
    """What ran where, and how near its answers are to PyTorch's."""
    columns = ("way", "where its nodes run", "relative error", "top-1 agreement", "golden answers")
    return [
        "## Placement and answers",
        "",
        f"`pytest -m gpu`: {tests.summary}. FP32 is held to float32 here, without TF32.",
        "",
        *table(columns, [proof_cells(proof) for proof in proofs]),
        "",
    ]


def proof_cells(proof: Proof) -> list[str]:
    """One row of the table of proofs."""
    name = name_of(proof.request)
    replay = proof.replay
    if replay is None:
        return [name, "", "", "", f"not computed: {proof.error}"]
    error, agreement = replay.relative_l2, replay.top1_agreement
    return [
        name,
        " ".join(replay.placement.split()),
        "" if error is None else f"{error:.2g}",
        "" if agreement is None else f"{100 * agreement:.1f} %",
        "ok" if replay else f"FAILED: {replay.reason}",
    ]


def speed_section(batch: int, lines: Sequence[Line], seconds: float) -> list[str]:
    """A table of all ways, and the best of ours over the best of PyTorch's."""
    columns = ("way", "where", "p50, ms", "p99, ms", "provider alone, ms", "pictures/s", f"over {BASE}")
    columns += ("GPU memory, MiB",)
    base = next((line.speed.throughput for line in lines if line.name == BASE and line.speed), None)
    return [
        f"## Speed, batch {batch}",
        "",
        f"In turns in one process, {seconds:g} s each, one batch at a time, copies there and back included.",
        "",
        *table(columns, [speed_cells(line, base) for line in lines]),
        "",
        *(f"- {text}" for precision in ("fp32", "fp16", "int8") for text in duel(lines, precision)),
        "",
    ]


def speed_cells(line: Line, base: float | None) -> list[str]:
    """One row of the table of speeds."""
    found = line.speed
    if found is None:
        return [line.name, f"not measured: {line.error}", *[""] * 6]
    latency = found.latency
    return [
        line.name,
        found.where,
        *("" if value is None else f"{value:.3f}" for value in (latency.p50, latency.p99, found.device_ms)),
        f"{found.throughput:.0f}",
        f"{found.throughput / base:.2f}" if base else "",
        "" if found.gpu_bytes is None else f"{found.gpu_bytes / 2**20:.0f}",
    ]


def duel(lines: Sequence[Line], precision: str) -> list[str]:
    """The fastest of ours over the fastest of PyTorch's; INT8 meets PyTorch's float16."""
    measured = {line.name: line.speed.throughput for line in lines if line.speed}
    theirs = "fp16" if precision == "int8" else precision
    ours = {n: v for n, v in measured.items() if precision in n and "torch" not in n}
    rivals = {n: v for n, v in measured.items() if theirs in n and "torch" in n}
    if not ours or not rivals:
        return []
    best, rival = max(ours, key=ours.__getitem__), max(rivals, key=rivals.__getitem__)
    return [f"{best} is {ours[best] / rivals[rival]:.2f} times as fast as {rival}."]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *body]


def one_line(error: EdgeproofError) -> str:
    """The message and what was found, without what to type."""
    return " ".join(f"{error.message} {error.details['got']}".split())


if __name__ == "__main__":
    main()
