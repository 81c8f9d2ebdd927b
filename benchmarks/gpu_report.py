"""What was found on a GPU, as Markdown. Used by gpu.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from gpu_options import Alternation, Row, chosen
from gpu_speed import Line, name_of

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.device.gpu import Driver
from edgeproof.runtime.device.libraries import cuda_version, cudnn_version, tensorrt_version
from edgeproof.runtime.errors import EdgeproofError
from edgeproof.runtime.inference.verification import Replay
from edgeproof.runtime.providers.request import ProviderRequest

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
        *([f"- **TensorRT: not run.** {absent}"] if absent else []),
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
    error, agreement = replay.relative_l2, replay.agreement
    return [
        name,
        " ".join(replay.placement.split()),
        "" if error is None else f"{error:.2g}",
        "" if agreement is None else f"{100 * agreement:.1f} %",
        "ok" if replay else f"FAILED: {replay.reason}",
    ]


def options_section(
    rows: Sequence[Row], alternations: Sequence[Alternation], batches: Sequence[int], seconds: float
) -> list[str]:
    """What the CUDA provider's options cost and bring; batches are in order."""
    columns = ["precision", "search", "layout", "arena"]
    columns += [f"batch {n}: {what}" for n in batches for what in ("first, s", "p50, ms", "GPU memory, MiB")]
    largest = batches[-1]
    pairs = (
        "precision",
        "search",
        "as they come, ms",
        f"padded to {largest}, ms",
        "as they come over padded",
    )
    return [
        "## Options of the CUDA provider",
        "",
        f"One session a row, {seconds:g} s for each batch, smallest first, copies included. **Bold** is what",
        "edgeproof asks for today.",
        "",
        *table(columns, [option_cells(row, len(batches)) for row in rows]),
        "",
        f"A batch of {batches[0]} and one of {largest} in turns, both together:",
        "",
        *table(pairs, [alternation_cells(found) for found in alternations]),
        "",
    ]


def option_cells(row: Row, batches: int) -> list[str]:
    """One row of the table of options."""
    search, nhwc, arena = row.choice.values()
    names = [row.precision, search, "NHWC" if nhwc == "1" else "NCHW", arena]
    if dict(row.choice) == chosen(row.precision):
        names = [f"**{name}**" for name in names]
    if row.error:
        return [*names, row.error, *[""] * (3 * batches - 1)]
    cells = [
        ("" if value is None else f"{value / scale:.3g}")
        for step in row.steps
        for value, scale in ((step.first_s, 1), (step.p50_ms, 1), (step.gpu_bytes, 2**20))
    ]
    return [*names, *cells]


def alternation_cells(found: Alternation) -> list[str]:
    """One row of the table of alternating batches."""
    apart, padded = found.as_they_come_ms, found.padded_ms
    if apart is None or padded is None:
        return [found.precision, found.search, found.error or "too few samples", "", ""]
    return [found.precision, found.search, f"{apart:.3g}", f"{padded:.3g}", f"{apart / padded:.2f}"]


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
