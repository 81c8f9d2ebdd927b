"""Every precision on a GPU: where its nodes run, whether its answers are PyTorch's, and how fast it is.

    python benchmarks/gpu.py [BUNDLE] [--batch N,N] [--seconds S] [--within S] [--write FILE.md]

Runs the tests marked `gpu`, replays the golden inputs, tries the CUDA provider's options, and measures ONNX
Runtime's CUDA provider, and TensorRT's where its libraries are, with and without a CUDA graph, beside PyTorch
eager and torch.compile. Without a BUNDLE it exports a network with random weights, which are as fast as
others; PyTorch's network has fresh weights. How they are measured stands in gpu_speed.py and gpu_options.py.
The report is written after every part, so that what is done is kept. gpu_test.py prepares a bare machine.

Exit status: 0 done; 1 a test or a proof failed; 2 this machine cannot do it.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gpu_options import alternate, sweep
from gpu_report import Proof, Tests, heading, one_line, options_section, proof_section, speed_section
from gpu_speed import COMPILE_MODES, TURNS, Line, compete, our_openers, torch_openers
from gpu_test import EXPORT_OPTIONS, MODEL
from numpy.typing import NDArray

from edgeproof.runtime.bench.bench import parse_batches
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.device.gpu import Driver
from edgeproof.runtime.errors import EdgeproofError, gist
from edgeproof.runtime.files import publish_file
from edgeproof.runtime.inference.verification import verify
from edgeproof.runtime.providers.cuda import CUDA
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest
from edgeproof.runtime.providers.tensorrt import TENSORRT
from edgeproof.runtime.session.session import load_onnxruntime

ROOT = Path(__file__).resolve().parents[1]
EXPORTED = ROOT / "artifacts" / "gpu" / MODEL
BUNDLE_VARIABLE = "EDGEPROOF_GPU_BUNDLE"  # where the tests marked gpu look for a bundle
GPU_TESTS = "tests/runtime/test_gpu_session.py"


def main() -> None:
    """Check the machine, test, prove, measure, print, and write where asked."""
    options = parsed()
    clock = Clock(options.within)
    ort, driver = usable_or_leave()
    report = Report(options.write)
    try:
        bundle = Bundle.open(options.bundle or exported())
        batches = parse_batches(options.batch)
        providers, absent = present_providers(ort)
        requests = [r for name in providers for r in requests_for(name, tuple(bundle.manifest.models))]
        report.add(heading(ort, driver, bundle, absent))
        tests = run_tests(bundle, clock.left())
        proofs = [prove(bundle, request) for request in requests]
        report.add(proof_section(tests, proofs))
        report.add(measured_options(ort, bundle, batches, options.seconds / TURNS, clock.over))
        network = network_of(bundle)
        if network is None:
            report.add(["**PyTorch: not run.** Its network needs torchvision, which cannot be imported.", ""])
        for batch in batches:
            lines = race(bundle, requests, network, "cuda", batch, options.seconds, clock.over)
            report.add(speed_section(batch, lines, options.seconds))
    except EdgeproofError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    report.add([f"All of it took {clock.spent():.0f} s."])
    print(report.text)
    sys.exit(not tests.passed or any(proof.failed for proof in proofs))


class Clock:
    """The time that all of it may take."""

    def __init__(self, seconds: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds

    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Seconds that remain; negative when it is over."""
        return self._seconds - self.spent()

    def over(self) -> bool:
        """Whether nothing more is to be begun."""
        return self.left() <= 0


class Report:
    """What is known so far, in a file where one is named."""

    def __init__(self, file: Path | None) -> None:
        self._file, self.text = file, ""

    def add(self, lines: Sequence[str]) -> None:
        """Append a part, and publish the whole."""
        self.text += "\n".join(lines) + "\n"
        if self._file:
            with publish_file(self._file) as draft:
                draft.write_text(self.text, encoding="utf-8")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    parser.add_argument("--batch", default="1,8", metavar="N,N", help="sizes of batch (default 1,8)")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="for each (default 2)")
    parser.add_argument(
        "--within", type=float, default=540.0, metavar="S", help="begin nothing more after that (default 540)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the report there too")
    options = parser.parse_args()
    if not (0 < options.seconds < math.inf and 0 < options.within < math.inf):
        parser.error("--seconds and --within must be more than 0")
    return options


def usable_or_leave() -> tuple[Any, Driver]:
    """onnxruntime and the driver where CUDA can be used; else the process ends with what is missing."""
    try:
        ort = load_onnxruntime()
        return ort, CUDA.require_usable(ort)
    except EdgeproofError as error:
        print(f"error: Nothing can be measured on a GPU here. {error}", file=sys.stderr)
        sys.exit(2)


def exported() -> Path:
    """The bundle of random weights, which is made when it is first needed."""
    if not EXPORTED.exists():
        command = [
            sys.executable,
            "-m",
            "edgeproof.export",
            "export",
            MODEL,
            *EXPORT_OPTIONS.split(),
            "--out",
            str(EXPORTED),
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return EXPORTED


def present_providers(ort: Any) -> tuple[list[str], str]:
    """CUDA, and TensorRT where it can be used; else why it cannot."""
    try:
        TENSORRT.require_usable(ort)
    except EdgeproofError as error:
        return ["cuda"], one_line(error)
    return ["cuda", "tensorrt"], ""


def run_tests(bundle: Bundle, seconds: float) -> Tests:
    """Run the tests marked gpu on a bundle, in a process of their own, for at most so long."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", GPU_TESTS]
    environment = {**os.environ, BUNDLE_VARIABLE: str(bundle.folder.resolve())}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return Tests(False, f"not finished within {seconds:.0f} s")
    print(done.stdout, file=sys.stderr)
    return Tests(not done.returncode, (done.stdout.splitlines() or ["no output"])[-1])


def requests_for(provider: str, precisions: Sequence[str]) -> list[ProviderRequest]:
    """Each precision on a provider, without and with a CUDA graph.

    Without a graph, INT8 may leave nodes elsewhere, to show where they are; a graph takes all nodes or none.
    """
    graphs = (False,) if provider == "cpu" else (False, True)
    return [
        ProviderRequest(
            provider,
            precision,
            allow_fallback=precision == "int8" and not graph,
            engine=EngineOptions(cuda_graph=graph),
        )
        for graph in graphs
        for precision in precisions
    ]


def prove(bundle: Bundle, request: ProviderRequest) -> Proof:
    """Replay the golden inputs, unless the model failed at that when it was exported."""
    if not bundle.manifest.models[request.precision].parity:
        return Proof(request, None, "its parity with PyTorch failed at export")
    try:
        return Proof(request, verify(bundle, request.precision, request))
    except EdgeproofError as error:
        return Proof(request, None, one_line(error))


def network_of(bundle: Bundle) -> Any:
    """The bundle's architecture in PyTorch, with fresh weights; None where a package for it is missing."""
    try:
        from edgeproof.export.sources import registry
        from edgeproof.export.sources.resolve import choose_variant
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that is made for another torch
        print(f"PyTorch's network is left out: {gist(error)}", file=sys.stderr)
        return None
    spec = registry.find(bundle.manifest.architecture)
    variant = choose_variant(spec, bundle.manifest.form, small_data=False)
    return variant.build(len(bundle.manifest.labels))


def race(
    bundle: Bundle,
    requests: Sequence[ProviderRequest],
    network: Any,
    device: str,
    batch: int,
    seconds: float,
    over: Callable[[], bool] = lambda: False,
    modes: Mapping[str, str] = COMPILE_MODES,
) -> list[Line]:
    """All requests and PyTorch's ways, with one batch of golden inputs; the slowest to open come last."""
    samples = golden_batch(bundle, batch)
    models = {request.precision: bundle.model_bytes(request.precision) for request in requests}
    ours = our_openers(models, requests, samples)
    theirs = {} if network is None else torch_openers(network, samples, device, modes)
    return compete({**ours, **theirs}, seconds, over)


def measured_options(
    ort: Any, bundle: Bundle, batches: Sequence[int], seconds: float, over: Callable[[], bool]
) -> list[str]:
    """The tables of the CUDA provider's options, on batches of golden inputs."""
    models = {precision: bundle.model_bytes(precision) for precision in bundle.manifest.models}
    sizes = sorted(set(batches))
    samples = [golden_batch(bundle, size) for size in sizes]
    rows = sweep(ort, models, samples, seconds, over)
    return options_section(rows, alternate(ort, models, samples, seconds, over), sizes, seconds)


def golden_batch(bundle: Bundle, batch: int) -> NDArray[Any]:
    """So many of the golden inputs, over and over."""
    golden = bundle.golden().input
    return np.ascontiguousarray(np.resize(golden, (batch, *golden.shape[1:])))


if __name__ == "__main__":
    main()
