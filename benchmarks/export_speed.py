"""What the export path costs: wall time of each stage, and its ratio to torch.onnx.export alone.

    python benchmarks/export_speed.py [--write FILE.md] [--repeats N] [--tests]

Each run is a process of its own, as for a user; rivals and edgeproof take turns, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import Figure, figure_table, written

IMPORT_REPEATS = 9
PROOF_STAGES = ("export", "parity", "simplify")

EXPORT_ALONE = """
import contextlib, io, time, torch
from edgeproof.export.sources import registry
network = registry.find("mobilenet_v3").small.build(10).eval()
inputs = (torch.randn(2, 3, 32, 32),)
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    torch.onnx.export(network, inputs, dynamo=True, opset_version=20, input_names=["input"],
                      output_names=["output"], external_data=False, verbose=False,
                      dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
print(time.perf_counter() - start)
"""
BASE = "import numpy, onnxruntime"
GOALS = {"import edgeproof.runtime": "at most 1.1"}
IMPORTS = {
    BASE: BASE,
    "import edgeproof.runtime": "import edgeproof.runtime",
    "import edgeproof.runtime, numpy, onnxruntime": "import edgeproof.runtime, numpy, onnxruntime",
    "from edgeproof.runtime import Runner; import onnxruntime": (
        "from edgeproof.runtime import Runner; import onnxruntime"
    ),
}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the report there too")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="pairs of exports (default 3)")
    parser.add_argument("--tests", action="store_true", help="also time the whole test suite")
    options = parser.parse_args()
    sections = [
        "# What the export path costs",
        "",
        written("bench-export"),
        "",
        *export_section(options.repeats),
        *import_section(),
        *(tests_section() if options.tests else ()),
    ]
    report = "\n".join(sections) + "\n"
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")


def export_section(repeats: int) -> list[str]:
    """Stages of an export, at first and with cached weights, against the exporter alone."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "EDGEPROOF_CACHE": folder}
        first = export_stages(Path(folder) / "first", environment)
        cached, alone, ratios = [], [], []
        for i in range(repeats):
            cached.append(export_stages(Path(folder) / f"bundle{i}", environment))
            alone.append(float(python(EXPORT_ALONE)))
            ratios.append(sum(cached[-1][name] for name in PROOF_STAGES) / alone[-1])
    median = {name: statistics.median(run[name] for run in cached) for name in first}
    proven = statistics.median(sum(run[name] for name in PROOF_STAGES) for run in cached)
    rows = [f"| {name} | {first[name]:.1f} | {median[name]:.1f} |" for name in first]
    against_exporter = Figure(
        "export, parity and simplification of mobilenet_v3, s",
        f"{proven:.1f}",
        f"{statistics.median(alone):.1f} (torch.onnx.export alone)",
        f"{statistics.median(ratios):.2f}",
        "at most 1.3",
    )
    return [
        "## `edgeproof export mobilenet_v3`, demo weights on `digits`",
        "",
        "| stage | first run, s | with cached weights, s |",
        "|---|---|---|",
        *rows,
        "",
        f"Below, {repeats} pairs in turns; their ratios: {', '.join(f'{ratio:.2f}' for ratio in ratios)}.",
        "",
        *figure_table([against_exporter]),
        "",
    ]


def export_stages(out: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds of each stage of one export, and of the whole process."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "edgeproof.export", "export", "mobilenet_v3", "--out", str(out)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    total = time.perf_counter() - start
    manifest = json.loads((out / "manifest.json").read_text())
    return {**{stage["name"]: stage["seconds"] for stage in manifest["stages"]}, "whole command": total}


def import_section() -> list[str]:
    """What importing the device's floor costs over what it cannot do without."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(IMPORT_REPEATS):
        for name, code in IMPORTS.items():
            start = time.perf_counter()
            python(code)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    base = median[BASE]
    rows = [
        Figure(
            f"`{name}`, ms",
            f"{1000 * value:.0f}",
            f"{1000 * base:.0f} (`{BASE}`)",
            f"{value / base:.2f}",
            GOALS.get(name, ""),
        )
        for name, value in median.items()
        if name != BASE
    ]
    note = (
        "Names are loaded when they are first used; the last line is what a process that runs a bundle pays."
    )
    return ["## Importing the runner", "", note, "", *figure_table(rows), ""]


def tests_section() -> list[str]:
    """Wall time of the test suite."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest"], check=True, stdout=sys.stderr, cwd=Path(__file__).parents[1]
    )
    took = time.perf_counter() - start
    return ["## Tests", "", f"The whole suite takes {took:.0f} s (goal: at most 600).", ""]


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    main()
