"""How near the runner comes to what the machine can do, from JPEG files to labels; run by runner.py.

Per round, in turns within one process: decoding, resizing and cropping alone, and inference alone, each with
a thread a core; a plain loop of PIL, torchvision's transforms and `session.run`; and the runner. The first
two give the machine's limit: cores / (core-seconds a photograph to decode, resize and crop + core-seconds to
infer). The plain loop includes opening its session; the runner is measured with its opening and without.
Medians are compared.

Then so many frames from memory go through a runner whose model costs next to nothing, and its resident memory
is watched; and a process labels one photograph, timed from its start. CPU provider throughout.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from page import Figure, figure_table
from PIL import Image

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.inference.concurrency import cores
from edgeproof.runtime.inference.runner import Prediction, Runner
from edgeproof.runtime.inference.workers import OrderedWorkers
from edgeproof.runtime.sources.frames import Frame
from edgeproof.runtime.sources.readers import read_image
from edgeproof.runtime.testing import fake_runner, memory

WARM_UP = 5_000  # frames after which memory is first read
STARTS = 7


@dataclass(frozen=True)
class Speeds:
    """Median seconds for all photographs, by way: on the clock, and of all cores together."""

    wall: Mapping[str, float]
    used: Mapping[str, float]

    @property
    def limit(self) -> float:
        """Seconds on the clock that decoding and inference alone would leave."""
        return self.wall["decode, resize, crop"] + self.wall["infer"]


def speed_section(bundle: Bundle, photographs: list[Path], rounds: int) -> list[str]:
    """Photographs a second of each way, and of the machine's limit."""
    speeds, count = measure(bundle, photographs, rounds), len(photographs)
    wall, used = speeds.wall, speeds.used
    gain = wall["plain loop"] / wall["runner, opening included"]
    whole = used["decode, resize, crop"] + used["infer"]
    rate = {way: f"{count / seconds:.1f}" for way, seconds in wall.items()}
    limit = f"{count / speeds.limit:.1f} (the machine's limit)"
    opened, loop = rate["runner, opening included"], f"{rate['plain loop']} (plain loop)"
    ours, least = f"{used['runner']:.1f}", f"{whole:.1f} (decoding and inference alone)"
    reached, busy = f"{speeds.limit / wall['runner']:.3f}", f"{used['runner'] / whole:.3f}"
    figures = [
        Figure("photographs a second", rate["runner"], limit, reached, "at least 0.92"),
        Figure("photographs a second, opening included", opened, loop, f"{gain:.2f}", "at least 3"),
        Figure("core-seconds for all photographs", ours, least, busy),
    ]
    return [
        f"## From JPEG to label: {bundle.manifest.name}, {count} photographs",
        "",
        f"Medians of {rounds} rounds in turns. The machine's limit is what decoding and inference alone "
        "leave: cores / (core-seconds a photograph of both). The plain loop is PIL, torchvision's transforms "
        "and `session.run`, its session's opening included.",
        "",
        "| way | photographs a second | core-ms a photograph |",
        "|---|---|---|",
        *(f"| {way} | {count / wall[way]:.1f} | {1000 * used[way] / count:.2f} |" for way in wall),
        f"| machine's limit | {count / speeds.limit:.1f} | {1000 * cores() * speeds.limit / count:.2f} |",
        "",
        *figure_table(figures),
        "",
    ]


def measure(bundle: Bundle, photographs: list[Path], rounds: int) -> Speeds:
    """Each way in turns, so many times."""
    preprocess = bundle.manifest.preprocess
    if preprocess is None:
        sys.exit(f"{bundle.folder} takes tensors: there is nothing to decode")
    feed = {bundle.manifest.input.name: preprocess(read_image(photographs[0]))[None]}
    session = one_thread(bundle)
    with Runner.open(bundle.folder, precision="fp32") as runner:
        ways: dict[str, Callable[[], Any]] = {
            "decode, resize, crop": lambda: spread(
                lambda path: preprocess.pixels(read_image(path)), photographs
            ),
            "infer": lambda: spread(lambda given: session.run(None, given), [feed] * len(photographs)),
            "plain loop": lambda: plain_loop(bundle, photographs),
            "runner, opening included": lambda: opened_stream(bundle, photographs),
            "runner": lambda: stream(runner, photographs),
        }
        taken = [{way: timed(work) for way, work in ways.items()} for _ in range(rounds)]
    wall = {way: statistics.median(times[way][0] for times in taken) for way in ways}
    used = {way: statistics.median(times[way][1] for times in taken) for way in ways}
    return Speeds(wall, used)


def one_thread(bundle: Bundle) -> Any:
    """ONNX Runtime's own session with one thread, which several threads may call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = bundle.model_bytes("fp32")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def spread(work: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Do a work on every item with a thread a core."""
    with OrderedWorkers(work, items, workers=cores(), depth=2 * cores()) as stage:
        for _ in stage:
            pass


def plain_loop(bundle: Bundle, photographs: list[Path]) -> None:
    """What one writes first: PIL, torchvision's transforms, `session.run`."""
    from torchvision import transforms

    preprocess = bundle.manifest.preprocess
    if preprocess is None:
        raise AssertionError("refused before")
    transform = transforms.Compose(
        [
            transforms.Resize(preprocess.resize),
            transforms.CenterCrop(preprocess.crop),
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean, preprocess.std),
        ]
    )
    session = onnxruntime.InferenceSession(bundle.model_bytes("fp32"), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for path in photographs:
        with Image.open(path) as image:
            tensor = transform(image.convert("RGB")).unsqueeze(0).numpy()
        int(session.run(None, {name: tensor})[0].argmax())


def opened_stream(bundle: Bundle, photographs: list[Path]) -> None:
    """The runner as it chooses, from opening to closing."""
    with Runner.open(bundle.folder, precision="fp32") as runner:
        stream(runner, photographs)


def stream(runner: Runner, photographs: list[Path]) -> None:
    """The runner as it chooses, once it is open."""
    labelled = sum(isinstance(result, Prediction) for result in runner.stream(photographs))
    if labelled != len(photographs):
        raise AssertionError(f"{labelled} of {len(photographs)} photographs got labels")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of all cores together, that a work takes."""
    wall, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - used


def endurance_section(frames: int) -> list[str]:
    """Many frames from memory: none lost, their order kept, and what became of resident memory."""
    tensors = [np.full((3, 8, 8), value, np.float32) for value in (-1, 1)]
    start, before, given = time.perf_counter(), 0, 0
    with fake_runner(pictures=False) as runner:
        for given, result in enumerate(runner.stream(alternating(tensors, frames)), start=1):
            in_place = isinstance(result, Prediction) and result.frame == given - 1
            if not in_place or result.top[0].index != result.frame % 2:
                raise AssertionError(f"frame {given - 1}: {result}")
            if given == min(WARM_UP, frames // 2):
                before = resident()
    seconds, grown = time.perf_counter() - start, (resident() - before) / 2**20
    return [
        f"## {frames} frames from memory",
        "",
        f"{given} of them came out, in their order, {given / seconds:.0f} a second. Resident memory grew by "
        f"{grown:.2f} MiB after the first {min(WARM_UP, frames // 2)} (goal: less than 5).",
        "",
    ]


def alternating(tensors: list[NDArray[np.float32]], frames: int) -> Iterator[Frame]:
    """The tensors in turn, each a new array, as a camera's frames are."""
    return memory(tensors[number % len(tensors)].copy() for number in range(frames))


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def first_label_section(bundle: Path, photograph: Path) -> list[str]:
    """Seconds from a process's start to its first line, the median of several starts."""
    command = [
        sys.executable,
        "-m",
        "edgeproof.export",
        "run",
        str(bundle),
        str(photograph),
        "--precision",
        "fp32",
    ]
    times = []
    for _ in range(STARTS):
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            line = process.stdout.readline() if process.stdout else b""
            times.append(time.perf_counter() - start)
        if b'"top"' not in line:
            raise AssertionError(line)
    return [
        "## The first label",
        "",
        f"{statistics.median(times):.2f} s after the process's start (median of {STARTS}, the least "
        f"{min(times):.2f} s), with {Bundle.open(bundle).manifest.name} (goal: at most 1.5).",
        "",
    ]
