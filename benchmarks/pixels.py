"""What a model that takes pixels saves on the CPU, and what it does in its graph instead; run by runner.py.

The bundle's float32 model is given a uint8 input as `edgeproof export --uint8-input` does it. Both forms take
the same photographs in turns, on one thread: from the picture, cropped just before as in a stream, to the
batch that `Session.run` takes, and `Session.run` itself. Of all rounds the median counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeproof.calibration.onnx_graph.read import parse_onnx
from edgeproof.calibration.passes.uint8_input import with_uint8_input
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.sources.readers import read_image

PHOTOGRAPHS = 64
ROUNDS = 5
KINDS = ("float32", "uint8")


def pixels_section(bundle: Bundle, photographs: list[Path]) -> list[str]:
    """CPU time, bytes and answers of both forms."""
    trained = bundle.manifest.preprocess
    if trained is None or trained.dtype != "float32":
        sys.exit(f"{bundle.folder} must hold a model of pictures that takes floats")
    ways = {"float32": trained, "uint8": trained.for_pixels()}
    model = parse_onnx(bundle.model_bytes("fp32"), "the bundle's model")
    models = {"float32": model, "uint8": with_uint8_input(model, trained, ways["uint8"])}
    pictures = [read_image(path) for path in photographs[:PHOTOGRAPHS]]
    sessions = {
        kind: Session(models[kind].SerializeToString(), provider=ProviderRequest(threads=1)) for kind in KINDS
    }
    prepare, infer, answers, size = measure(ways, sessions, pictures)
    return section(bundle.manifest.name, len(pictures), prepare, infer, deviation(answers), size)


Medians = dict[str, float]


def measure(
    ways: dict[str, Preprocess], sessions: dict[str, Session], pictures: list[Image.Image]
) -> tuple[Medians, Medians, dict[str, NDArray[Any]], dict[str, int]]:
    """Median CPU seconds a picture to prepare it and to infer, answers, and bytes of a frame, by kind."""
    prepare: dict[str, list[float]] = {kind: [] for kind in KINDS}
    infer: dict[str, list[float]] = {kind: [] for kind in KINDS}
    answers: dict[str, list[NDArray[Any]]] = {kind: [] for kind in KINDS}
    size: dict[str, int] = {}
    for turn in range(ROUNDS + 1):
        for picture in pictures:
            for kind in KINDS:
                used, batch = timed(batch_of, ways[kind], ways[kind].pixels(picture))
                ran, found = timed(sessions[kind].run, batch)
                size[kind] = batch.nbytes
                if turn == 0:  # to warm up; the answers are the same each time
                    answers[kind].append(next(iter(found.values())))
                else:
                    prepare[kind].append(used)
                    infer[kind].append(ran)
    joined = {kind: np.concatenate(answers[kind]) for kind in KINDS}
    return medians(prepare), medians(infer), joined, size


def batch_of(preprocess: Preprocess, picture: Image.Image) -> NDArray[Any]:
    """The batch that `Session.run` takes, of a picture that `Preprocess.pixels` gave."""
    return np.ascontiguousarray(preprocess.tensor(picture)[None])


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds of this process's CPU time that a work takes, and its result."""
    start = time.process_time()
    result = work(*arguments)
    return time.process_time() - start, result


def medians(seconds: dict[str, list[float]]) -> Medians:
    """The median of each kind."""
    return {kind: statistics.median(times) for kind, times in seconds.items()}


def deviation(answers: dict[str, NDArray[Any]]) -> float:
    """Largest difference of the two forms' answers, in standard deviations of the output."""
    wanted = answers["float32"].astype(np.float64)
    return float(np.abs(answers["uint8"] - wanted).max() / wanted.std())


def section(
    name: str, count: int, prepare: Medians, infer: Medians, difference: float, size: dict[str, int]
) -> list[str]:
    """The figures as Markdown."""
    whole = {kind: prepare[kind] + infer[kind] for kind in KINDS}
    rows = [
        ("from the crop to `Session.run`, CPU ms", prepare, 1000, "at most 0.333"),
        ("`Session.run`, with what moved into the graph, CPU ms", infer, 1000, ""),
        ("both, CPU ms", whole, 1000, ""),
        ("a frame, bytes", size, 1, "0.25"),
    ]
    return [
        f"## Pixels in place of floats: {name}, {count} photographs",
        "",
        f"Both forms of the float32 model in turns, one thread, medians of {ROUNDS * count} pictures.",
        "",
        "| | float32 input | uint8 input | ratio | goal |",
        "|---|---|---|---|---|",
        *(
            f"| {what} | {figure(one['float32'] * scale)} | {figure(one['uint8'] * scale)} "
            f"| {one['uint8'] / one['float32']:.3f} | {goal} |"
            for what, one, scale, goal in rows
        ),
        "",
        f"The answers differ by at most {difference:.1e} of the output's deviation (goal: at most 1e-5).",
        "",
    ]


def figure(value: float) -> str:
    """A number with as many digits as it has meaning."""
    return f"{value:.3f}" if value < 1000 else f"{value:.0f}"
