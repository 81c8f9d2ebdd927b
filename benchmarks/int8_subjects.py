"""The networks of `benchmarks/int8.py`, with inputs that calibrate them and others that judge.

MobileNetV2 has its published weights and photographs. PaddleOCR's detector and recogniser have theirs, and
pages and lines rendered here. The others are trained here: MobileNetV3 on Fashion-MNIST and on `letters`,
SSDLite, LR-ASPP and a detector of YOLOv8's layout on `digit-scenes`. What was made stays in artifacts/int8.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import foreign_models
import letters
import numpy as np
import onnx
from numpy.typing import NDArray

from edgeproof.calibration.onnx_graph.input_shape import open_unknown_sides, with_input
from edgeproof.export.data import catalog, fashion_mnist
from edgeproof.export.data.dataset import seeded_subset
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.tasks.base import Task
from edgeproof.runtime.tasks.registry import parse_task

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "artifacts" / "int8"
LETTERS = WORK / "letters"
MOST_JUDGES = 1000


@dataclass(frozen=True)
class Material:
    """A network, and what it is tried with.

    Attributes:
        model: float32 ONNX.
        calibration: inputs, shape (N, ...).
        judging: other inputs.
        task: what the answers mean.
        quantized: what `edgeproof quantize` is given: the bundle, or the file and its task.
        truths: of the judging inputs, in coordinates of the model's input; None where there are none.
        calibration_truths: of the others, in the same way.
    """

    model: Path
    calibration: NDArray[np.float32]
    judging: NDArray[np.float32]
    task: Task
    quantized: tuple[str, ...]
    truths: Sequence[Any] | None = None
    calibration_truths: Sequence[Any] | None = None


@dataclass(frozen=True)
class Subject:
    """A network by name.

    Attributes:
        name: of the section.
        source: weights and data in a few words.
        make: the network and its inputs.
    """

    name: str
    source: str
    make: Callable[[], Material]


def subjects(photographs: Path | None, checkpoint: Path | None, paddle: Path | None) -> Iterator[Subject]:
    """Those for which there is what they need; the others are named on stderr."""
    if photographs and checkpoint:
        data = f"imagefolder:{photographs}"
        weights = ["--weights", str(checkpoint)]
        yield _exported("mobilenet_v2", "published weights, photographs", "mobilenet_v2", weights, data)
    else:
        _missing("mobilenet_v2", "--photographs and --checkpoint")
    found = list(foreign_models.trained(paddle)) if paddle else []
    yield from map(_foreign, found)
    if not found:
        _missing("text_detection and text_recognition", "--paddle with PaddleOCR's two files")
    for name in ("mobilenet_v3_small", "mobilenet_v3_large"):
        if fashion_mnist.DEBIAN_FOLDER.is_dir():
            epochs = ["--epochs", "3", "--samples", "20000"]
            yield _trained(f"{name}-fashion-mnist", "Fashion-MNIST", name, "fashion-mnist", epochs, [])
        else:
            _missing(f"{name} on Fashion-MNIST", "the Debian package dataset-fashion-mnist")
        factory, data = f"benchmarks/letters.py:{name}", f"imagefolder:{LETTERS}"
        sides = ["--input", "3x64x64"]
        yield _trained(f"{name}-letters", "letters", factory, data, [*sides, "--epochs", "6"], sides)
    for name in ("ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        yield _exported(name, "trained here, digit-scenes", name, ["--weights", "demo"], "digit-scenes")
    yield Subject("yolo", "trained here, digit-scenes", _yolo)


def _missing(name: str, what: str) -> None:
    print(f"{name} is left out: it takes {what}", file=sys.stderr)


def _exported(name: str, source: str, model: str, arguments: Sequence[str], data: str) -> Subject:
    """A network that `edgeproof export` makes by name, or from a factory."""

    def make() -> Material:
        bundle = WORK / name
        if not bundle.exists():
            command = ["export", model, "--data", data, "--precision", "fp32", "--out", str(bundle)]
            _edgeproof([*command, *arguments])
        opened = Bundle.open(bundle)
        found = catalog.find(data, opened.task.name)
        preprocess = opened.manifest.preprocess
        judging = found.evaluation.take(seeded_subset(len(found.evaluation), MOST_JUDGES))
        return Material(
            bundle / "model.fp32.onnx",
            found.calibration.tensor(preprocess),
            judging.tensor(preprocess),
            opened.task,
            (str(bundle),),
            judging.labels,  # whose places are the input's too: the scenes have its size
            found.calibration.labels,
        )

    return Subject(name, source, make)


def _trained(
    name: str, source: str, model: str, data: str, training: Sequence[str], sides: Sequence[str]
) -> Subject:
    """A classifier that is trained here first."""
    folder = WORK / "training" / name
    exported = _exported(
        name,
        f"trained here, {source}",
        model,
        ["--weights", str(folder / "weights.safetensors"), *sides],
        data,
    )

    def make() -> Material:
        if data.endswith(str(LETTERS)) and not LETTERS.exists():
            letters.write(LETTERS)
        if not (folder / "weights.safetensors").exists():
            _edgeproof(["train", model, "--data", data, *training, "--out", str(folder)])
        return exported.make()

    return replace(exported, make=make)


def _foreign(foreign: foreign_models.Foreign) -> Subject:
    """A network from an ONNX file; three in four of its inputs calibrate."""

    def make() -> Material:
        model = foreign.load()
        open_unknown_sides(model)  # Paddle's -1, of which some tools make an empty batch
        model = with_input(model, foreign.shape.sides, batch=0)  # and some fail on a side without a name
        path = WORK / f"{foreign.name}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
        inputs = foreign.inputs(foreign.count)
        first = len(inputs) * 3 // 4
        typed = foreign.task or "classification"
        task = parse_task(typed).for_input(inputs.shape[1:])
        return Material(path, inputs[:first], inputs[first:], task, (str(path), "--task", typed))

    return Subject(foreign.name, f"{foreign.weights} weights, rendered text", make)


def _yolo() -> Material:
    weights = WORK / "training" / "yolo.safetensors"
    if not weights.exists():
        _run([sys.executable, str(ROOT / "benchmarks" / "train_yolo.py"), str(weights)])
    factory, task = "benchmarks/yolo.py:network", "detection:yolov8"
    arguments = ["--weights", str(weights), "--input", "3x64x64", "--task", task]
    return _exported("yolo", "", factory, arguments, "digit-scenes").make()


def _edgeproof(arguments: Sequence[str]) -> None:
    _run([sys.executable, "-m", "edgeproof.export", *arguments])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)
