"""INT8 beside its rivals, by networks and inputs that did not calibrate: answers, error, CPU time, memory.

    python benchmarks/int8.py [--photographs DIR --checkpoint FILE] [--paddle DIR] [--write FILE.md]
                              [--subject NAME]... [--tool NAME]... [--fresh]

Every tool gets the same float32 ONNX file and the same inputs, and runs in a process of its own, which is
timed and whose peak memory is read; the rivals run in an environment of their own, which the first call makes
in .venv-rivals. A row that was measured stays in artifacts/int8/rows, and is not measured again unless
--fresh is given; FILE.md keeps what it says of networks that are left out this time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from int8_subjects import WORK, Material, Subject, subjects
from numpy.typing import NDArray
from page import Figure, figure_table, written

from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.onnx_graph.graph import LAYERS
from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.errors import EdgeproofError
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.tasks.registry import described

ROOT = Path(__file__).resolve().parents[1]
RIVALS = ROOT / ".venv-rivals"
PACKAGES = ("nvidia-modelopt[onnx]==0.47.0", "aimet-onnx==2.42.0")
ROWS = WORK / "rows"
HEADING = "## "
TURNS = 40
QUANTIZE = [sys.executable, "-m", "edgeproof.export", "quantize"]
OUR_DEFAULT = "edgeproof"
OURS = {
    "edgeproof, ranges alone": ["--recover", "off"],
    OUR_DEFAULT: [],
    "edgeproof, target cpu": ["--target", "cpu"],
}
COLUMNS = (
    *("tool", "agreement with float lost, points", "metric lost, points", "SQNR of the outputs, dB"),
    *("layers in INT8", "CPU s", "peak MB", "times float's speed on the CPU", "TensorRT accepts"),
)
THEIRS = {
    "Model Optimizer, max": "modelopt-max",
    "Model Optimizer, entropy": "modelopt-entropy",
    "onnxruntime quantize_static": "onnxruntime",
    "onnxruntime, unsigned, per channel": "onnxruntime-channels",
    "onnxsim, mse": "onnxsim-mse",
    "AIMET-ONNX": "aimet",
}
WHOLE_INT8 = ("QLinearConv", "QLinearMatMul", "QGemm")
HERE = ("onnxsim-mse",)  # of theirs, those that this environment holds


@dataclass(frozen=True)
class Run:
    """A finished process.

    Attributes:
        seconds: its CPU time, which a busy machine leaves alone.
        megabytes: its peak memory.
        elapsed: its time in seconds.
    """

    seconds: float
    megabytes: float
    elapsed: float


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path, metavar="DIR", help="for MobileNetV2")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="MobileNetV2's ImageNet weights")
    parser.add_argument("--paddle", type=Path, metavar="DIR", help="PaddleOCR's two networks")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--subject", action="append", metavar="NAME", help="only this; may be repeated")
    parser.add_argument(
        "--tool", action="append", choices=[*OURS, *THEIRS], help="only this; may be repeated"
    )
    parser.add_argument("--fresh", action="store_true", help="measure every row anew")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(ROWS, ignore_errors=True)
    sections = sections_in(options.write)
    for subject in subjects(options.photographs, options.checkpoint, options.paddle):
        if not options.subject or subject.name in options.subject:
            sections[subject.name] = "\n".join(section(subject, options.tool or [*OURS, *THEIRS]))
            if options.write:  # after each, for a run takes hours
                options.write.write_text(render(sections), encoding="utf-8")
    print(render(sections))


def sections_in(path: Path | None) -> dict[str, str]:
    """What a report says of each network, by name."""
    if path is None or not path.is_file():
        return {}
    _, *found = path.read_text(encoding="utf-8").split(f"\n{HEADING}")
    return {text.partition("\n")[0]: f"{HEADING}{text.rstrip()}" for text in found}


def section(subject: Subject, names: Sequence[str]) -> Iterator[str]:
    """One network's heading and table."""
    bench = Bench(subject)
    rows = [row(bench, name) for name in names]
    yield from (f"{HEADING}{subject.name}", "", *bench.heading(), "")
    yield from (f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS))
    yield from (f"| {' | '.join([name, *cells])} |" for name, cells in zip(names, rows, strict=True))
    yield from ("", *figure_table(beside_best(subject.name, dict(zip(names, rows, strict=True)))))


def beside_best(network: str, rows: Mapping[str, Sequence[str]]) -> Iterator[Figure]:
    """Our default beside the rival whose answers are nearest to float's."""
    decibels = {name: float(cells[2]) for name, cells in rows.items() if cells[2] not in ("", "exact")}
    rivals = [name for name in THEIRS if name in decibels]
    if OUR_DEFAULT not in decibels or not rivals:
        return
    best = max(rivals, key=decibels.__getitem__)
    ours, theirs = rows[OUR_DEFAULT], rows[best]
    difference = decibels[OUR_DEFAULT] - decibels[best]
    yield Figure(f"{network}: SQNR, dB", ours[2], f"{theirs[2]} ({best})", f"{difference:+.1f} dB")
    lost = [float(cells[0].split()[0]) for cells in (ours, theirs)]
    gap = f"{lost[0] - lost[1]:+.2f} points"
    yield Figure(f"{network}: answers that changed, points", ours[0], f"{theirs[0]} ({best})", gap)


def row(bench: Bench, name: str) -> list[str]:
    """The cells of one tool, measured once."""
    path = ROWS / bench.subject.name / f"{name.replace(' ', '_').replace(',', '')}.json"
    if not path.exists():
        print(f"{bench.subject.name}: {name} ...", file=sys.stderr, flush=True)
        cells = bench.measure(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(cells), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


class Bench:
    """Quantizes one network with every tool, and judges what they write.

    Args:
        subject: the network.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @cached_property
    def material(self) -> Material:
        """The network and its inputs, made when they are first needed."""
        return self.subject.make()

    def heading(self) -> list[str]:
        """What is measured on what."""
        material = self.material
        told = [
            f"{self.subject.source[0].upper()}{self.subject.source[1:]}: {described(material.task)};",
            f"{len(material.calibration)} inputs calibrate, {len(material.judging)} others judge.",
            f"Measured on {date.today().isoformat()}.",
        ]
        if self._labelled is not None:
            metric = self._labelled.measure(onnx.load(material.model)).accuracy
            told.append(f"The float model's {metric.metric} on these is {metric.value:.2f} %.")
        return told

    def measure(self, name: str) -> list[str]:
        """One tool: run it, judge what it wrote."""
        material = self.material
        with tempfile.TemporaryDirectory() as folder:
            calibration, out = Path(folder) / "calibration.npy", Path(folder) / "int8.onnx"
            np.save(calibration, material.calibration)
            try:
                run = measured(command(name, material, calibration, out))
                model = onnx.load(out)
                alike = self._unlabelled.measure(model)
            except subprocess.CalledProcessError as error:
                return _failed(_last_line(error.stderr))
            except EdgeproofError as error:  # what the tool wrote does not run
                return _failed(error.message)
            decibels = alike.parity.sqnr_db
            return [
                lost(alike.accuracy),
                lost(self._labelled.measure(model).accuracy) if self._labelled else "-",
                "exact" if decibels is None else f"{decibels:.1f}",
                layers_in_int8(model),
                f"{run.seconds:.0f}",
                f"{run.megabytes:.0f}",
                f"{speed(material.model, out, material.judging[:1]):.2f}",
                accepted(out),
            ]

    @cached_property
    def _unlabelled(self) -> AccuracyDrop:
        return AccuracyDrop(onnx.load(self.material.model), self._judging, self.material.task)

    @cached_property
    def _labelled(self) -> AccuracyDrop | None:
        material = self.material
        if material.truths is None:
            return None
        return AccuracyDrop(onnx.load(material.model), self._judging, material.task, material.truths)

    @property
    def _judging(self) -> CalibrationSet:
        inputs = self.material.judging
        return CalibrationSet(lambda positions: inputs[positions], len(inputs), "")


def command(name: str, material: Material, calibration: Path, out: Path) -> list[str]:
    """The command that makes a tool write its INT8 model.

    Args:
        name: of the tool.
        material: the network.
        calibration: a file of inputs.
        out: where to write it.
    """
    if name in OURS:
        files = [*material.quantized, "--calibration", str(calibration), "--out", str(out)]
        return [*QUANTIZE, *files, *OURS[name], "--max-drop", "100"]
    tool = THEIRS[name]
    python = sys.executable if tool in HERE else str(rivals_python())
    script = str(ROOT / "benchmarks" / "rivals.py")
    return [python, script, tool, str(material.model), str(calibration), str(out)]


def lost(accuracy: Accuracy) -> str:
    """Points lost, with the 95 % interval."""
    low, high = accuracy.ci95
    return f"{accuracy.drop:.2f} ({low:.2f} to {high:.2f})"


def rivals_python() -> Path:
    """The interpreter of the rivals' environment, which is made when it is first needed."""
    python = RIVALS / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(RIVALS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def measured(command: list[str]) -> Run:
    """Run a command to its end, and read its peak memory from the system."""
    watched = [sys.executable, str(ROOT / "benchmarks" / "resources_of.py"), *command]
    peak, seconds, elapsed = subprocess.run(
        watched, check=True, capture_output=True, text=True
    ).stdout.split()
    return Run(float(seconds), int(peak) / 1000, float(elapsed))


def layers_in_int8(model: onnx.ModelProto) -> str:
    """How many convolutions and products with weights take an input that was rounded, of how many."""
    graph = model.graph
    rounded = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weights = rounded | {tensor.name for tensor in graph.initializer}
    whole = sum(node.op_type in WHOLE_INT8 for node in graph.node)
    found = [node for node in graph.node if node.op_type in LAYERS and node.input[1] in weights]
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


def accepted(model: Path) -> str:
    """What TensorRT's compiler says of a model."""
    if not is_installed():
        return "not checked"
    return "yes" if preflight(model.read_bytes()) else "no"


def render(sections: Mapping[str, str]) -> str:
    """The report as Markdown."""
    return "\n".join(
        [
            "# INT8 beside other tools",
            "",
            written("bench-int8"),
            "Every tool gets the same float32 ONNX file and the same inputs, by its default options; ours",
            "takes whatever the answers cost. The judging inputs calibrate nothing. Points lost have 95 %",
            "intervals; CPU time (of all cores) and memory are those of the whole process, imports included.",
            *(f"\n{section}" for section in sections.values()),
            "",
        ]
    )


def _failed(why: str) -> list[str]:
    return [f"failed: {why}".replace("|", "/"), *[""] * (len(COLUMNS) - 2)]


def _last_line(text: str | None) -> str:
    lines = (text or "").strip().splitlines()
    return lines[-1].replace("|", "/")[:160] if lines else "without a word"


if __name__ == "__main__":
    main()
