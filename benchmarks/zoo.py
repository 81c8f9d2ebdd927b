"""Export every network of the registry and write what came out.

    python benchmarks/zoo.py [--placed] [--write FILE.md] [--trained DIR] [--photographs DIR]
                             [--checkpoint FILE] [MODEL]

A network that `edgeproof train` left in --trained (as MODEL-DATA) keeps those weights. The others for small
pictures or hyperspectral patches are trained quickly. ImageNet-size networks have random weights with settled
batch norms, which the parity rule guards; MobileNetV2 has its published weights where --checkpoint gives
them. Photographs (one folder a class, with a class_index.json) are what the ImageNet-size networks see,
random weights a few of them; without them, enlarged digits. With --placed they are torchvision's segmenters
and SSDs instead, on `digit-scenes`. Bundles stay in artifacts/zoo, and one that is there is not exported
again. FILE.md keeps its rows of networks that are not exported this time, so a run may be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import growing_table
import onnx
from page import written

from edgeproof.calibration.onnx_graph.cost import multiply_adds
from edgeproof.export.models import detectors, segmenters

BUNDLES = Path("artifacts/zoo")
LARGE_SIDE = 128  # inputs from here on are ImageNet-size: too slow to train here
SMALL_VARIANTS = ("mobilenet_v1", "mobilenet_v3_small", "mobilenet_v3_large")  # trained here in that size
# Of networks whose own recipe takes long on a CPU. A random MobileNetV3 that keeps its resolution doubles
# every rounding on its way, and float16 would not pass: it has to learn a little.
EPOCHS = {"senet18": 2, "hybridsn": 3, "hybridsn_plain": 1, "deeplabv3_mobilenet_v3_large": 1}
RANDOM_PICTURES = 96  # for random weights: a third of them calibrates
PLACED = "digit-scenes"  # what segmenters and detectors see
DEMO = ("lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large")  # small enough to be trained here
RANDOM = ["--weights", "random", "--evaluation", "32", "--recover", "off"]
PRECISIONS = ("fp32", "fp16", "int8")
COLUMNS = (
    "network", "weights, data", "input", "multiply-adds, M", "metric float / FP16 / INT8, %",
    "parity FP32 / FP16 / INT8, dB", "layers float in INT8", "TensorRT's compiler accepts",
    "nodes before / after", "bytes FP32 / FP16 / INT8, k", "ship", "s", "on",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One network: its bundle's manifest, or the error of its export."""

    name: str
    manifest: Mapping[str, Any] | None
    error: str = ""


@dataclass(frozen=True)
class Material:
    """What is there to export with: trainings, photographs, and MobileNetV2's ImageNet weights."""

    trained: Path | None
    photographs: Path | None
    checkpoint: Path | None


def main() -> None:
    """Export, print, and write where asked; exit 1 if an export failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--trained", type=Path, metavar="DIR", help="what `edgeproof train` left")
    parser.add_argument("--photographs", type=Path, metavar="DIR")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="MobileNetV2's ImageNet weights")
    parser.add_argument("--placed", action="store_true", help="torchvision's segmenters and SSDs")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="only these")
    options = parser.parse_args()
    material = Material(options.trained, options.photographs, options.checkpoint)
    registry = json.loads(edgeproof("models", "--json").stdout)["registry"]
    placed = {name: {} for name in (*segmenters.names(), *detectors.names())}
    known = {**registry, **placed}
    rows = growing_table.rows_in(options.write, COLUMNS)
    failed = False
    for name in options.models or (placed if options.placed else registry):
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        row = export(name, known[name], material)
        print(row.error or "done", file=sys.stderr)
        rows[name], failed = [*cells(row), date.today().isoformat()], failed or bool(row.error)
        if options.write:  # after each, for a run takes hours
            options.write.write_text(render(rows, known), encoding="utf-8")
    print(render(rows, known))
    sys.exit(failed)


def export(name: str, entry: Mapping[str, Any], material: Material) -> Row:
    """Export one network in a process of its own, unless its bundle is there."""
    bundle = BUNDLES / name
    if not bundle.exists():
        trained = edgeproof(*training) if (training := quick_training(name, entry, material)) else None
        done = trained if trained and trained.returncode else None
        done = done or edgeproof("export", name, "--out", str(bundle), *choose(name, entry, material))
        if done.returncode:
            told = ("error:", "  got:", "  available:")
            why = " ".join(line for line in done.stderr.splitlines() if line.startswith(told))
            return Row(name, None, why or f"it ended with status {done.returncode}")  # killed, for instance
    return Row(name, json.loads(edgeproof("inspect", str(bundle), "--json").stdout))


def choose(name: str, entry: Mapping[str, Any], material: Material) -> list[str]:
    """Weights and data for a network: trained where it is small, random where it is large."""
    if name in DEMO:
        return ["--weights", "demo"]
    if not entry and name not in EPOCHS:
        return RANDOM
    if finished := training_of(name, material):
        return weights_of(finished)
    if name in EPOCHS:
        return weights_of(quick_folder(name))
    if name in SMALL_VARIANTS or entry["input"][-1] < LARGE_SIDE:
        return ["--weights", "demo", "--data", entry["data"][0]]
    photographs = material.photographs
    if name == "mobilenet_v2" and photographs and material.checkpoint:
        seen = ["--data", f"imagefolder:{photographs}"]
        return ["--weights", str(material.checkpoint), *seen, "--form", "standard"]
    seen = ["--data", f"imagefolder:{few(photographs)}" if photographs else "digits"]
    return [*RANDOM, *seen, "--form", "standard"]


def few(photographs: Path) -> Path:
    """A folder with one picture of each of the first classes: enough for weights that know nothing."""
    folder = BUNDLES / "photographs"
    if (folder / "class_index.json").exists():  # which is written last
        return folder
    for chosen in sorted(path for path in photographs.iterdir() if path.is_dir())[:RANDOM_PICTURES]:
        picture = min(path for path in chosen.iterdir() if path.is_file())
        (folder / chosen.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, folder / chosen.name / picture.name)
    shutil.copyfile(photographs / "class_index.json", folder / "class_index.json")
    return folder


def quick_training(name: str, entry: Mapping[str, Any], material: Material) -> list[str]:
    """The command that trains a network briefly; empty where none is needed."""
    if name not in EPOCHS or training_of(name, material):
        return []
    epochs, folder = str(EPOCHS[name]), str(quick_folder(name))
    data = entry["data"][0] if entry else PLACED
    return ["train", name, "--data", data, "--epochs", epochs, "--out", folder]


def quick_folder(name: str) -> Path:
    """Where a quick training goes."""
    return BUNDLES / "training" / name


def training_of(name: str, material: Material) -> Path | None:
    """The folder of a finished training of the network, if there is one."""
    folders = sorted(material.trained.glob(f"{name}-*")) if material.trained else []
    return next((folder for folder in folders if (folder / "weights.safetensors").exists()), None)


def weights_of(training: Path) -> list[str]:
    """The options that export what a training gave."""
    history = json.loads((training / "history.json").read_text(encoding="utf-8"))
    data = history["settings"]["data"]["name"]
    return ["--weights", str(training / "weights.safetensors"), "--data", data]


def render(rows: Mapping[str, Sequence[str]], order: Iterable[str]) -> str:
    """The table as Markdown."""
    lines = [
        "# The zoo",
        "",
        written("zoo"),
        "Parity is the SQNR against PyTorch's answers. Networks too large to train here have random",
        "weights: they show that the pipeline runs, and say nothing about trained models.",
        "Seconds are each export's own; exports may have run side by side, on a core each.",
        "",
        *growing_table.lines(COLUMNS, rows, order),
    ]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """What the table says of a network, but for its name and the date."""
    if row.manifest is None:
        return [row.error, *[""] * (len(COLUMNS) - 3)]
    models = [row.manifest["models"].get(name) for name in PRECISIONS]
    steps = {step["stage"]: step["nodes"] for step in row.manifest["lineage"]}
    sides = row.manifest["input"]["shape"][1:]
    return [
        f"{row.manifest['weights']['source']}, {row.manifest['data']['name']}",
        "x".join(map(str, sides)),
        f"{multiply_adds(onnx.load(BUNDLES / row.name / 'model.fp32.onnx'), [1, *sides]) / 1e6:.1f}",
        f"{models[0]['accuracy']['metric']} {joined(models, metric)}",
        joined(models, decibels),
        kept_float(models[-1]),
        joined(models, accepted),
        f"{steps['export']} / {steps['simplify']}",
        joined(models, lambda model: f"{model['bytes'] / 1000:.0f}"),
        row.manifest["verdict"]["ship"],
        f"{sum(stage['seconds'] for stage in row.manifest['stages']):.0f}",
    ]


def metric(model: Mapping[str, Any]) -> str:
    """The task's metric."""
    return f"{model['accuracy']['value']:.2f}"


def decibels(model: Mapping[str, Any]) -> str:
    """SQNR of a model, marked where its parity failed."""
    value = model["parity"]["sqnr_db"]
    shown = "exact" if value is None else f"{value:.1f}"
    return shown if model["parity"]["passed"] else f"{shown} (failed)"


def kept_float(model: Mapping[str, Any] | None) -> str:
    """Names of the layers that INT8 leaves float."""
    return ", ".join(model["kept"]) or "none" if model else "-"


def accepted(model: Mapping[str, Any]) -> str:
    """The compiler's word."""
    return {True: "yes", False: "no", None: "not checked"}[model["preflight"]["accepted"]]


def joined(models: list[Any], show: Any) -> str:
    """One value a precision, with a dash for one that is not there."""
    return " / ".join(show(model) if model else "-" for model in models)


def edgeproof(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "edgeproof.export", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


if __name__ == "__main__":
    main()
