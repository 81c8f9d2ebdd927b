"""How near the runner comes to what the machine can do, from JPEG files to labels.

    python benchmarks/stream.py BUNDLE PHOTOGRAPHS [--rounds N] [--photographs N] [--frames N]
                                [--first-label BUNDLE]

BUNDLE is a bundle of MobileNetV2 (or another), PHOTOGRAPHS a folder with JPEG files at any depth. Per round,
in turns within one process: decoding, resizing and cropping alone, and inference alone, each with a thread a
core; a plain loop of PIL, torchvision's transforms and `session.run`; and the runner. The first two give the
machine's limit: cores / (core-seconds a photograph to decode, resize and crop + core-seconds to infer). The
plain loop includes opening its session; the runner is measured with its opening and without. Medians are
compared.

Then so many frames from memory go through a runner whose model costs next to nothing, and its resident memory
is watched; and a process labels one photograph, timed from its start. CPU provider throughout.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from edgeproof.runtime.bundle import Bundle
from edgeproof.runtime.crew import cores
from edgeproof.runtime.frames import Frame
from edgeproof.runtime.pipeline import Stage
from edgeproof.runtime.runner import Prediction, Runner
from edgeproof.runtime.sources import read_image
from edgeproof.runtime.testing import fake_runner, memory

WARM_UP = 5_000  # frames after which memory is first read
STARTS = 7


def main() -> None:
    """Measure and print Markdown."""
    options = parsed()
    bundle = Bundle.open(options.bundle)
    photographs = sorted(options.photographs.rglob("*.jp*g"))[: options.number]
    print(f"{cores()} cores, Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}\n")
    speeds(bundle, photographs, options.rounds)
    endurance(options.frames)
    first_label(options.first_label or options.bundle, photographs[0])


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("photographs", type=Path, metavar="PHOTOGRAPHS")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds (default 5)")
    parser.add_argument(
        "--photographs", dest="number", type=int, default=500, metavar="N", help="per round (default 500)"
    )
    parser.add_argument(
        "--frames", type=int, default=100_000, metavar="N", help="from memory (default 100000)"
    )
    parser.add_argument(
        "--first-label", type=Path, metavar="BUNDLE", help="the one that a process starts with"
    )
    return parser.parse_args()


def speeds(bundle: Bundle, photographs: list[Path], rounds: int) -> None:
    """Photographs a second of each way, and of the machine's limit."""
    preprocess = bundle.manifest.preprocess
    if preprocess is None:
        sys.exit(f"{bundle.folder} takes tensors: there is nothing to decode")
    session, runner = one_thread(bundle), Runner.open(bundle.folder, precision="fp32")
    name = bundle.manifest.input.name
    ready = preprocess(read_image(photographs[0]))[None]
    parts: dict[str, Callable[[], Any]] = {
        "decode, resize, crop": lambda: spread(lambda path: preprocess.pixels(read_image(path)), photographs),
        "infer": lambda: spread(lambda tensor: session.run(None, {name: tensor}), [ready] * len(photographs)),
        "plain loop": lambda: plain_loop(bundle, photographs),
        "runner, opening included": lambda: opened_stream(bundle, photographs),
        "runner": lambda: stream(runner, photographs),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, part in parts.items():
            taken[name].append(timed(part))
    wall = {name: statistics.median(wall for wall, _ in times) for name, times in taken.items()}
    used = {name: statistics.median(used for _, used in times) for name, times in taken.items()}
    limit = wall["decode, resize, crop"] + wall["infer"]
    rows = {name: len(photographs) / seconds for name, seconds in wall.items()}
    rows["machine's limit"] = len(photographs) / limit
    print("| from JPEG to label | photographs a second | core-ms a photograph |\n|---|---|---|")
    for name, speed in rows.items():
        spent = 1000 * used[name] / len(photographs) if name in used else 1000 * cores() / speed
        print(f"| {name} | {speed:.1f} | {spent:.2f} |")
    print(f"\nrunner / limit: {limit / wall['runner']:.3f} (goal: at least 0.9)")
    gain = wall["plain loop"] / wall["runner, opening included"]
    print(f"runner / plain loop, both with opening: {gain:.2f} (goal: at least 2)")
    whole = used["decode, resize, crop"] + used["infer"]
    print(
        f"CPU time of decoding and inference alone / CPU time of the runner: {whole / used['runner']:.3f}\n"
    )


def one_thread(bundle: Bundle) -> Any:
    """ONNX Runtime's own session with one thread, which several threads may call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = bundle.model_bytes("fp32")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def spread(work: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Do a work on every item with a thread a core."""
    with Stage(work, items, workers=cores(), depth=2 * cores()) as stage:
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


def endurance(frames: int) -> None:
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
    print(f"{given} of {frames} frames from memory in their order, {given / seconds:.0f} a second")
    print(f"resident memory grew by {grown:.2f} MiB after the first {WARM_UP} (goal: less than 5)\n")


def alternating(tensors: list[NDArray[np.float32]], frames: int) -> Iterator[Frame]:
    """The tensors in turn, each a new array, as a camera's frames are."""
    return memory(tensors[number % len(tensors)].copy() for number in range(frames))


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def first_label(bundle: Path, photograph: Path) -> None:
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
    print(
        f"first label {statistics.median(times):.2f} s after the process's start, least {min(times):.2f} s",
        end=" ",
    )
    print(f"({bundle}; goal: at most 1.5)")


if __name__ == "__main__":
    main()
