"""Long runs, with faults on the way: memory stays flat, the order is kept, and every frame is accounted for.

    python tests/soak/soak.py [--frames 1000000] [--real-frames 200000] [--minutes 60] [--write FILE.md]

A million frames go through the runner with the fake session; 200,000 through ONNX Runtime, while the slot
that is run changes over to another bundle again and again; and a camera of 30 pictures a second, which goes
away and comes back, is labelled for an hour. Some frames cannot be read. Exit status 1: something was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeproof.runtime.bundle.manifest import manifest_sha256
from edgeproof.runtime.errors import ImageError
from edgeproof.runtime.inference.results import BadFrame, Prediction
from edgeproof.runtime.inference.runner import Runner
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.rollout.changeover import SlotRunner
from edgeproof.runtime.rollout.install import install
from edgeproof.runtime.rollout.slot import Slot
from edgeproof.runtime.sources.camera import Camera
from edgeproof.runtime.sources.frames import Frame, failed_frame
from edgeproof.runtime.testing import fake_runner

BUNDLE = Path(__file__).parents[1] / "fuzz" / "seeds" / "bundle"
MOST_GROWTH = 5.0  # MiB
WARM_UP = 0.2  # share of a run after which memory is first read
BAD_EVERY = 997  # frames
CHANGES = 20  # of the bundle, over a run
RATE = 30  # pictures a second
AWAY_EVERY = 500  # pictures, after which the camera goes away
GONE_TRIES = 2  # to reach it, that fail


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        name: what went through.
        frames: how many went in.
        labelled, bad, dropped: what became of them.
        seconds: how long it took.
        grown: MiB of resident memory that the process holds more than after its warm-up.
        notes: what happened on the way.
        faults: what should not have happened; empty where all is well.
    """

    name: str
    frames: int
    labelled: int
    bad: int
    dropped: int
    seconds: float
    grown: float
    notes: str
    faults: list[str]


class Memory:
    """Resident memory, from a warm-up on.

    Args:
        after: how many frames the warm-up takes.
    """

    def __init__(self, after: int) -> None:
        self._after = max(after, 1)
        self._base = 0.0

    def at(self, frame: int) -> None:
        """Note that so many frames have come."""
        if frame == self._after:
            self._base = resident()

    @property
    def grown(self) -> float:
        """MiB more than after the warm-up."""
        return resident() - self._base


def main() -> None:
    """Do the three runs, print what came of them, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--real-frames", type=int, default=200_000, metavar="N")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    options = parser.parse_args()
    outcomes = []
    for run in (
        partial(through_the_fake, options.frames),
        partial(through_onnxruntime, options.real_frames),
        partial(from_a_camera, 60 * options.minutes),
    ):
        outcomes.append(run())
        print(row(outcomes[-1]), file=sys.stderr, flush=True)
    report = render(outcomes)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")
    sys.exit(any(outcome.faults for outcome in outcomes))


def through_the_fake(count: int) -> Outcome:
    """Frames from memory through a runner whose session is a Python function."""
    with fake_runner(pictures=False, workers=2, streams=2) as runner:
        return watched("the runner, with a fake session", count, runner, memory_frames(count), (0, 1))


def through_onnxruntime(count: int) -> Outcome:
    """The same through ONNX Runtime, while other bundles are installed in the slot that is run."""
    with tempfile.TemporaryDirectory() as name:
        folder, told = Path(name), []
        slot, request = Slot(folder / "slot"), ProviderRequest(provider="cpu")
        install(renamed(folder / "bundle0", 0), slot, request)
        opened = partial(Runner.open, provider="cpu", workers=2, streams=2)
        with SlotRunner(slot, opened, tell=told.append, poll=0.05) as runner:
            frames = memory_frames(count, partial(installed_now_and_then, slot, request, folder, count))
            name = "ONNX Runtime, the bundle changed meanwhile"
            outcome = watched(name, count, runner, frames, COLOURS)
        changes = sum("changed over" in line and "not changed" not in line for line in told)
        outcome.notes = f"{changes} changes of the bundle"
        outcome.faults += [line for line in told if "not changed over" in line]
        outcome.faults += [] if changes else ["the bundle was never changed"]
        return outcome


def watched(
    name: str, count: int, runner: Runner | SlotRunner, frames: Iterator[Frame], wanted: tuple[int, int]
) -> Outcome:
    """Frames through a runner: each must come out once, in its place, with its own answer."""
    memory, faults, start = Memory(int(WARM_UP * count)), [], time.monotonic()
    seen = 0
    for seen, result in enumerate(runner.stream(frames), start=1):
        memory.at(seen)
        if not as_it_should(result, seen - 1, wanted) and len(faults) < 5:
            faults.append(f"frame {seen - 1}: {result}")
    totals, grown = runner.totals, memory.grown
    if seen != count or totals.labelled + totals.bad != count or totals.dropped:
        faults.append(f"{seen} of {count} frames came out: {totals}")
    if grown > MOST_GROWTH:
        faults.append(f"memory grew by {grown:.1f} MiB")
    taken = time.monotonic() - start
    return Outcome(name, count, totals.labelled, totals.bad, totals.dropped, taken, grown, "", faults)


def as_it_should(result: Prediction | BadFrame, number: int, wanted: tuple[int, int]) -> bool:
    """Whether this is the result of that frame."""
    if result.frame != number or isinstance(result, BadFrame) != is_bad(number):
        return False
    return isinstance(result, BadFrame) or result.top[0].index == wanted[number % 2]


def is_bad(number: int) -> bool:
    """Whether the frame of that number cannot be read."""
    return number % BAD_EVERY == BAD_EVERY - 1


DARK, BRIGHT = np.full((3, 8, 8), -1, np.float32), np.full((3, 8, 8), 1, np.float32)
COLOURS = (3, 2)  # the classes that the bundle gives these two: dark, and blue


def memory_frames(count: int, meanwhile: Callable[[int], None] = lambda number: None) -> Iterator[Frame]:
    """Dark and bright inputs in turn, each an array of its own, as a camera's are; some cannot be read."""
    for number in range(count):
        meanwhile(number)
        if is_bad(number):
            yield failed_frame("memory", number, ImageError("torn"))
        else:
            yield Frame.from_sample("memory", number, (DARK, BRIGHT)[number % 2].copy())


def installed_now_and_then(
    slot: Slot, request: ProviderRequest, folder: Path, count: int, number: int
) -> None:
    """Install another bundle, `CHANGES` times over the run."""
    every = max(1, count // CHANGES)
    if number % every == every // 2:
        serial = number // every + 1
        install(renamed(folder / f"bundle{serial}", serial), slot, request)
        shutil.rmtree(folder / f"bundle{serial}")


def renamed(folder: Path, serial: int) -> Path:
    """A copy of the bundle under another name, exported later."""
    shutil.copytree(BUNDLE, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    created = f"2026-01-01T00:{serial // 60:02d}:{serial % 60:02d}+00:00"
    manifest |= {"name": f"bundle{serial}", "created": created}
    manifest["sha256"] = manifest_sha256(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


class SimulatedCamera:
    """30 pictures a second; it goes away now and then, and comes back. Each picture is a new array.

    Args:
        seconds: for how long it shows pictures.
    """

    def __init__(self, seconds: float) -> None:
        self.shown = 0
        self.losses = 0
        self.over = threading.Event()
        self._end = time.monotonic() + seconds
        self._next = time.monotonic()
        self._failing = 0  # tries that will fail
        self._connected = 0  # pictures since it was reached

    def connect(self) -> SimulatedCamera | None:
        """Reach it, or give None."""
        if self.over.is_set():
            return None
        if self._failing:
            self._failing -= 1
            return None
        self._next = time.monotonic()
        return self

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Wait for the next picture."""
        if time.monotonic() >= self._end:
            self.over.set()
            return False, None
        self._next += 1 / RATE
        time.sleep(max(0.0, self._next - time.monotonic()))
        if self._connected == AWAY_EVERY:
            self.losses, self._failing, self._connected = self.losses + 1, GONE_TRIES, 0
            return False, None
        self.shown, self._connected = self.shown + 1, self._connected + 1
        return True, np.full((48, 64, 3), self.shown % 256, np.uint8)

    def release(self) -> None:
        """Let go of it."""


def from_a_camera(seconds: float) -> Outcome:
    """Label a camera's pictures, and count those that came while the runner was busy."""
    simulated, memory, start = (
        SimulatedCamera(seconds),
        Memory(int(WARM_UP * seconds * RATE)),
        time.monotonic(),
    )
    faults, last, seen = [], -1, 0
    with Runner.open(BUNDLE, provider="cpu", workers=1, streams=1) as runner:
        camera = Camera("camera:simulated", simulated.connect, delay=0.01)
        ender = threading.Thread(target=end_when_over, args=(simulated, runner), daemon=True)
        ender.start()
        for seen, result in enumerate(runner.stream(camera), start=1):
            memory.at(seen)
            if isinstance(result, Prediction):
                faults += [f"frame {result.frame} after {last}"] if result.frame <= last else []
                last = result.frame
        totals, grown = runner.totals, memory.grown
    shown = simulated.shown
    if totals.labelled + totals.dropped != shown:
        faults.append(f"{shown} pictures were shown: {totals}")
    if grown > MOST_GROWTH:
        faults.append(f"memory grew by {grown:.1f} MiB")
    notes = f"it went away {simulated.losses} times and came back"
    taken = time.monotonic() - start
    name = f"a camera of {RATE} pictures a second"
    return Outcome(name, shown, totals.labelled, totals.bad, totals.dropped, taken, grown, notes, faults)


def end_when_over(simulated: SimulatedCamera, runner: Runner) -> None:
    """Stop the runner a second after the last picture."""
    simulated.over.wait()
    time.sleep(1)
    runner.stop()


def resident() -> float:
    """MiB of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def row(outcome: Outcome) -> str:
    """A row of the table."""
    cells: list[Any] = [outcome.name, outcome.frames, outcome.labelled, outcome.bad, outcome.dropped]
    cells += [f"{outcome.seconds:.0f}", f"{outcome.grown:+.1f}", outcome.notes]
    return f"| {' | '.join(map(str, cells))} | {'; '.join(outcome.faults) or 'nothing'} |"


def render(outcomes: list[Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "# Long runs",
        "",
        f"Written by `make soak` on {date.today().isoformat()}. Every frame must come out in its order,",
        f"or be counted; resident memory may grow by {MOST_GROWTH:.0f} MiB after the first fifth of a run.",
        "",
        "| through | frames | labelled | unreadable | dropped | s | MiB grown | on the way | lost or wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(row, outcomes)]) + "\n"


if __name__ == "__main__":
    main()
