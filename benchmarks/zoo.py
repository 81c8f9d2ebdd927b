"""Export every network of the registry and write what came out.

    python benchmarks/zoo.py [--write FILE.md] [--photographs DIR] [--checkpoint FILE] [MODEL ...]

Networks for small pictures, and those for hyperspectral patches, are trained quickly on their demo data.
ImageNet-size networks have random weights with settled batch norms, which the parity rule guards;
MobileNetV2 has its published weights where --checkpoint gives them. Photographs (one folder a class, with a
class_index.json) are what the ImageNet-size networks see; without them, enlarged digits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

LARGE_SIDE = 128  # inputs from here on are ImageNet-size: too slow to train here
PRECISIONS = ("fp32", "fp16", "int8")
COLUMNS = (
    "network", "weights, data", "input", "multiply-adds, M", "top-1 float / FP16 / INT8, %",
    "parity FP32 / FP16 / INT8, dB", "nodes before / after", "bytes FP32 / FP16 / INT8, k", "ship", "s",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One export: the network, its manifest or the error, and the wall time in seconds."""

    name: str
    manifest: Mapping[str, Any] | None
    error: str
    seconds: float


def main() -> None:
    """Export, print, and write where asked; exit 1 if an export failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--photographs", type=Path, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="MobileNetV2's ImageNet weights")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="only these")
    options = parser.parse_args()
    registry = json.loads(edgeproof("models", "--json").stdout)["registry"]
    rows = []
    for name in options.models or registry:
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        rows.append(export(name, registry[name], options.photographs, options.checkpoint))
        print(rows[-1].error or f"{rows[-1].seconds:.0f} s", file=sys.stderr)
    report = render(rows, registry)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")
    sys.exit(any(row.error for row in rows))


def export(name: str, entry: Mapping[str, Any], photographs: Path | None, checkpoint: Path | None) -> Row:
    """Export one network in a process of its own."""
    arguments = choose(name, entry, photographs, checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = edgeproof("export", name, "--out", f"{folder}/{name}", "--json", *arguments)
        seconds = time.perf_counter() - start
    if done.returncode:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith(("error:", "  got:", "  available:"))
        ]
        return Row(name, None, " ".join(lines), seconds)
    return Row(name, json.loads(done.stdout), "", seconds)


def choose(
    name: str, entry: Mapping[str, Any], photographs: Path | None, checkpoint: Path | None
) -> list[str]:
    """Weights and data for a network: quick training where it is small, random weights where it is large."""
    if entry["input"][-1] < LARGE_SIDE:
        return ["--weights", "demo", "--data", entry["data"][0]]
    seen = ["--data", f"imagefolder:{photographs}"] if photographs else ["--data", "digits"]
    known = name == "mobilenet_v2" and checkpoint and photographs
    weights = str(checkpoint) if known else "random"
    return ["--weights", weights, *seen, "--form", "standard", "--evaluation", "372" if known else "32"]


def render(rows: list[Row], registry: Mapping[str, Any]) -> str:
    """The table as Markdown."""
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, CPU provider"
    )
    lines = [
        "# The zoo",
        "",
        f"Written by `make zoo` on {date.today().isoformat()} ({machine}).",
        "Parity is the SQNR against PyTorch's answers. Random weights are there to try the way of networks",
        "too large to train here: their top-1 means nothing, and their INT8 stands for nothing learned.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *(f"| {' | '.join(cells(row, registry[row.name]))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def cells(row: Row, entry: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    if row.manifest is None:
        return [row.name, row.error, *[""] * (len(COLUMNS) - 3), f"{row.seconds:.0f}"]
    models = [row.manifest["models"].get(name) for name in PRECISIONS]
    steps = {step["stage"]: step["nodes"] for step in row.manifest["lineage"]}
    shape = "x".join(map(str, row.manifest["input"]["shape"][1:]))
    return [
        row.name,
        f"{row.manifest['weights']['source']}, {row.manifest['data']['name']}",
        shape,
        f"{entry['multiply_adds'] / 1e6:.1f}" if shape == "x".join(map(str, entry["input"])) else "",
        joined(models, lambda model: f"{model['accuracy']['top1']:.2f}"),
        joined(models, decibels),
        f"{steps['export']} / {steps['simplify']}",
        joined(models, lambda model: f"{model['bytes'] / 1000:.0f}"),
        row.manifest["verdict"]["ship"],
        f"{row.seconds:.0f}",
    ]


def decibels(model: Mapping[str, Any]) -> str:
    """SQNR of a model, marked where its parity failed."""
    value = model["parity"]["sqnr_db"]
    shown = "exact" if value is None else f"{value:.1f}"
    return shown if model["parity"]["passed"] else f"{shown} (failed)"


def joined(models: list[Any], show: Any) -> str:
    """One value a precision, with a dash for one that is not there."""
    return " / ".join(show(model) if model else "-" for model in models)


def edgeproof(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "edgeproof.export", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


if __name__ == "__main__":
    main()
