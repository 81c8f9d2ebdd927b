"""INT8 of MobileNetV2 beside its rivals: accuracy, time, memory, and what TensorRT's compiler says.

    python benchmarks/int8.py --photographs DIR --checkpoint FILE [--write FILE.md] [--tool NAME]...

The photographs (one folder a class, with a class_index.json) are split as `edgeproof export` splits them:
128 calibrate, the others judge. Every tool runs in a process of its own, which is timed and whose peak memory
is read; the rivals run in an environment of their own, which the first call makes in .venv-rivals.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.export.data import catalog
from edgeproof.runtime.session.session import Session

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ROOT / ".venv-rivals"
PACKAGES = ("nvidia-modelopt[onnx]==0.47.0",)
SHAPE = (3, 224, 224)
TURNS = 40
QUANTIZE = [sys.executable, "-m", "edgeproof.export", "quantize"]
OURS = {
    "edgeproof, ranges alone": ["--recover", "off"],
    "edgeproof": [],
    "edgeproof, target cpu": ["--target", "cpu"],
}
COLUMNS = (
    *("tool", "top-1, %", "agreement with float, %", "SQNR of the logits, dB", "convolutions in INT8"),
    *("s", "peak MB", "times float's speed on the CPU", "TensorRT accepts"),
)
THEIRS = {
    "Model Optimizer, max": "modelopt-max",
    "Model Optimizer, entropy": "modelopt-entropy",
    "onnxruntime quantize_static": "onnxruntime",
    "onnxruntime, unsigned, per channel": "onnxruntime-channels",
    "onnxsim, mse": "onnxsim-mse",
}


@dataclass(frozen=True)
class Photographs:
    """Preprocessed inputs, shape (N, 3, 224, 224), and the class of those that judge."""

    calibration: NDArray[np.float32]
    judging: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """A finished process: wall time in seconds, peak resident memory in MB."""

    seconds: float
    megabytes: float


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument(
        "--tool", action="append", choices=[*OURS, *THEIRS], help="only this; may be repeated"
    )
    options = parser.parse_args()
    names = options.tool or [*OURS, *THEIRS]
    photographs = read(options.photographs)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = export(options.photographs, options.checkpoint, place)
        np.save(place / "calibration.npy", photographs.calibration)
        np.save(place / "all.npy", np.concatenate([photographs.calibration, photographs.judging]))
        right = answers(model, photographs.judging)
        top1 = 100 * float((right.argmax(axis=1) == photographs.labels).mean())
        rows = [line(name, model, place, photographs, right) for name in names]
        collecting = [collected(model, place, file) for file in ("calibration.npy", "all.npy")]
    report = render(rows, collecting, len(photographs.calibration), len(photographs.labels), top1)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")


def read(folder: Path) -> Photographs:
    """The photographs, split by seed."""
    data = catalog.find(f"imagefolder:{folder}")
    preprocess = data.preprocess(SHAPE)
    return Photographs(
        data.calibration.tensor(preprocess), data.evaluation.tensor(preprocess), data.evaluation.labels
    )


def export(photographs: Path, checkpoint: Path, place: Path) -> Path:
    """MobileNetV2 as float32 ONNX."""
    command = [sys.executable, "-m", "edgeproof.export", "export", "mobilenet_v2"]
    command += ["--weights", str(checkpoint), "--data", f"imagefolder:{photographs}"]
    measured([*command, "--precision", "fp32", "--out", str(place / "bundle")])
    return place / "bundle" / "model.fp32.onnx"


def line(name: str, model: Path, place: Path, photographs: Photographs, right: NDArray[np.float32]) -> str:
    """One tool: run it, judge what it wrote."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    out = place / f"{name.replace(' ', '_')}.onnx"
    try:
        run = measured(command_of(name, model, place / "calibration.npy", out))
    except subprocess.CalledProcessError as error:
        failure = (error.stderr or "").strip().splitlines()[-1:]
        return f"| {name} | failed: {failure} {'| ' * (len(COLUMNS) - 1)}"
    found = answers(out, photographs.judging)
    agreement = 100 * float((found.argmax(axis=1) == right.argmax(axis=1)).mean())
    top1 = 100 * float((found.argmax(axis=1) == photographs.labels).mean())
    sqnr = 20 * np.log10(np.linalg.norm(right) / np.linalg.norm(found - right))
    cells = (
        *(f"{top1:.2f}", f"{agreement:.1f}", f"{sqnr:.1f}", convolutions(out)),
        *(f"{run.seconds:.0f}", f"{run.megabytes:.0f}"),
        f"{speed(model, out, photographs.judging[:1]):.2f}",
        accepted(out),
    )
    return f"| {name} | {' | '.join(cells)} |"


def command_of(name: str, model: Path, calibration: Path, out: Path) -> list[str]:
    """The command that makes a tool write its model."""
    if name in OURS:
        files = [str(model), "--calibration", str(calibration), "--out", str(out)]
        return [*QUANTIZE, *files, *OURS[name], "--max-drop", "100"]
    tool = THEIRS[name]
    python = sys.executable if tool == "onnxsim-mse" else str(rivals_python())
    return [python, str(ROOT / "benchmarks" / "rivals.py"), tool, str(model), str(calibration), str(out)]


def rivals_python() -> Path:
    """The interpreter of the rivals' environment, which is made when it is first needed."""
    python = RIVALS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(RIVALS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def measured(command: list[str]) -> Run:
    """Run a command to its end, and read its peak memory from the system."""
    start = time.perf_counter()
    watched = [sys.executable, str(ROOT / "benchmarks" / "peak_memory.py"), *command]
    peak = subprocess.run(watched, check=True, capture_output=True, text=True).stdout
    return Run(time.perf_counter() - start, int(peak) / 1000)


def answers(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first output, shape (N, classes)."""
    with Session(model.read_bytes()) as session:
        name = session.output_names[0]
        return np.concatenate([session.run(inputs[i : i + 4])[name] for i in range(0, len(inputs), 4)])


def convolutions(model: Path) -> str:
    """How many convolutions take an input that was rounded, of how many."""
    graph = onnx.load(model).graph
    rounded = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    found = [node for node in graph.node if node.op_type == "Conv"]
    whole = sum(node.op_type == "QLinearConv" for node in graph.node)
    return f"{whole + sum(node.input[0] in rounded for node in found)} of {whole + len(found)}"


def speed(reference: Path, model: Path, sample: NDArray[np.float32]) -> float:
    """Median time of the float model over that of another, one sample at a time, taken in turns."""
    seconds: dict[Path, list[float]] = {reference: [], model: []}
    with Session(reference.read_bytes()) as first, Session(model.read_bytes()) as second:
        for _ in range(TURNS):
            for path, session in ((reference, first), (model, second)):
                start = time.perf_counter()
                session.run(sample)
                seconds[path].append(time.perf_counter() - start)
    return float(np.median(seconds[reference]) / np.median(seconds[model]))


def collected(model: Path, place: Path, file: str) -> str:
    """One line: the collecting of ranges alone, in a process of its own."""
    count = len(np.load(place / file, mmap_mode="r"))
    run = measured(
        [sys.executable, str(ROOT / "benchmarks" / "int8_collect.py"), str(model), str(place / file)]
    )
    return f"| {count} | {run.seconds:.1f} | {run.megabytes:.0f} |"


def accepted(model: Path) -> str:
    """What TensorRT's compiler says of a model."""
    if not is_installed():
        return "not checked"
    return "yes" if preflight(model.read_bytes()) else "no"


def render(rows: list[str], collecting: list[str], calibration: int, judging: int, top1: float) -> str:
    """The report as Markdown."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return "\n".join(
        [
            "# INT8 of MobileNetV2",
            "",
            f"Written by `make bench-int8` on {date.today().isoformat()} ({machine}, CPU provider).",
            f"{calibration} photographs calibrate, {judging} others judge; the float model's top-1 on these",
            f"is {top1:.2f} %. Time and memory are those of the whole process, imports included.",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|" + "---|" * len(COLUMNS),
            *rows,
            "",
            "The collecting of ranges alone, imports included:",
            "",
            "| photographs | s | peak MB |",
            "|---|---|---|",
            *collecting,
            "",
        ]
    )


if __name__ == "__main__":
    main()
