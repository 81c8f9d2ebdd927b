"""Each fault: what is done to edgeproof, and what must hold all the same.

A fault is a function of an empty folder and of how often to try. It returns how often it was tried and what
happened, and raises AssertionError where something was lost.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from processes import at_each_call, edgeproof, finish, kill_after, lines_of, network
from safetensors.numpy import load_file

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import manifest_sha256
from edgeproof.runtime.errors import BundleError, EdgeproofError
from edgeproof.runtime.inference.results import BadFrame, Prediction
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.rollout.install import install
from edgeproof.runtime.rollout.slot import Slot
from edgeproof.runtime.sources.camera import Camera
from edgeproof.runtime.sources.frames import Frame
from edgeproof.runtime.testing import fake_runner, memory

BUNDLE = Path(__file__).parents[1] / "fuzz" / "seeds" / "bundle"
STAGE = r"^✓ "
EPOCH = r"epoch \d+ of \d+"
CELL = r": (ship|There|The) "
INSTALL = """
import sys
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.rollout.install import install
from edgeproof.runtime.rollout.slot import Slot
install(sys.argv[1], Slot(sys.argv[2]), ProviderRequest(provider="cpu"))
"""


@dataclass(frozen=True)
class Outcome:
    """How often a fault was tried, and what happened."""

    tried: int
    happened: str


Fault = Callable[[Path, int], Outcome]


# --- killed ---------------------------------------------------------------------------------------------


def export_killed(folder: Path, most: int) -> Outcome:
    """`kill -9` at each stage boundary of an export that replaces a bundle."""
    out = folder / "bundle"
    command = edgeproof(
        *("export", network(folder), "--data", "digits", "--out", out, "--force", "--recover", "off"),
        *("--evaluation", "40"),
    )
    stages = lines_of(command, folder, STAGE)
    assert stages > 5
    first, killed = Bundle.open(out).manifest.created, 0
    for stage in _spread(stages, most):
        killed += kill_after(command, folder, STAGE, stage)
        assert _whole(folder) >= {out}, "no whole bundle is in place"
        assert stage == stages or Bundle.open(out).manifest.created == first, "an unfinished one is in place"
    finish(command, folder)
    assert Bundle.open(out).manifest.created > first, "the next export did not complete"
    return Outcome(killed, "the old bundle stayed whole and in place; the next export completed")


def training_killed(folder: Path, most: int) -> Outcome:
    """`kill -9` after an epoch of a training; the same command goes on."""
    command = ["train", "lenet", "--data", "digits", "--epochs", "4"]
    whole, out = folder / "whole", folder / "out"
    epochs = lines_of(edgeproof(*command, "--out", whole), folder, EPOCH)
    wanted, killed = load_file(whole / "weights.safetensors"), 0
    for epoch in _spread(epochs, most):
        shutil.rmtree(out, ignore_errors=True)
        killed += kill_after(edgeproof(*command, "--out", out), folder, EPOCH, epoch)
        finish(edgeproof(*command, "--out", out), folder)
        found = load_file(out / "weights.safetensors")
        assert all(np.array_equal(found[name], value) for name, value in wanted.items()), "other weights"
    return Outcome(killed, "the next call went on, to the same weights to the bit")


def cache_killed(folder: Path, most: int) -> Outcome:
    """`kill -9` while demo weights are trained for the cache."""
    out = folder / "bundle"
    command = edgeproof(
        *("export", network(folder), "--data", "digits", "--out", out, "--precision", "fp32"),
        *("--evaluation", "40"),
    )
    killed = sum(kill_after(command, folder, EPOCH, count) for count in range(1, most + 1))
    assert not out.exists()
    finish(command, folder)
    Bundle.open(out)
    return Outcome(
        killed, "no bundle appeared, and no half-written weights were taken; the next export completed"
    )


def sweep_killed(folder: Path, most: int) -> Outcome:
    """`kill -9` after a combination of a sweep."""
    plan, out = folder / "plan.toml", folder / "sweep"
    plan.write_text(
        f'model = ["{network(folder)}"]\nprecisions = ["fp32", "fp16"]\ndata = "digits"\nseed = [0, 1]\n'
        "evaluation = 40\n"
    )
    command = edgeproof("sweep", plan, "--out", out)
    killed = 0
    for count in range(1, most + 1):
        killed += kill_after(command, folder, CELL, count)
    done = finish(command, folder)
    rows = json.loads((out / "sweep.json").read_text())
    assert all(not row["error"] for row in rows)
    assert not killed or "were done before" in done.stderr
    return Outcome(killed, "the next call did what was left, and nothing twice")


def install_killed(folder: Path, most: int) -> Outcome:
    """SIGKILL at each system call that an install makes under its slot."""
    before, slot = folder / "before", Slot(folder / "slot")
    old, new = _export(folder, "old", 1), _export(folder, "new", 2)
    request = ProviderRequest(provider="cpu")
    for _ in range(2):
        install(old, Slot(before), request)

    def prepare() -> None:
        shutil.rmtree(slot.folder, ignore_errors=True)
        shutil.copytree(before, slot.folder, symlinks=True)

    program = [sys.executable, "-B", "-c", INSTALL, str(new), str(slot.folder)]
    killed, seen = 0, set()
    for _, done in at_each_call(slot.folder, program, folder, "signal=KILL", prepare, most):
        killed += done.returncode != 0
        seen.add(_in_use(slot))
        install(new, slot, request)
        assert _in_use(slot) == "new"
        assert not [entry for entry in slot.versions.iterdir() if entry.name.startswith(".")], (
            "a draft is left"
        )
    assert seen <= {"old", "new"}
    return Outcome(killed, "the slot held a whole, verified bundle each time; the next install completed")


# --- a disk, a clock, memory ----------------------------------------------------------------------------


def install_on_a_full_disk(folder: Path, most: int) -> Outcome:
    """ENOSPC from a system call that an install makes under its slot."""
    return _install_refused(folder, "ENOSPC", most)


def install_on_a_read_only_disk(folder: Path, most: int) -> Outcome:
    """EROFS from a system call that an install makes under its slot."""
    return _install_refused(folder, "EROFS", most)


def _install_refused(folder: Path, code: str, most: int) -> Outcome:
    slot, before = Slot(folder / "slot"), folder / "before"
    install(_export(folder, "old", 1), Slot(before), ProviderRequest(provider="cpu"))
    new = _export(folder, "new", 2)

    def prepare() -> None:
        shutil.rmtree(slot.folder, ignore_errors=True)
        shutil.copytree(before, slot.folder, symlinks=True)

    program = edgeproof("install", new, "--slot", slot.folder, "--provider", "cpu")
    tried = refused = 0
    for call, done in at_each_call(slot.folder, program, folder, f"error={code}", prepare, most):
        tried += 1
        refused += done.returncode == 2
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 2), (call, done.returncode, done.stderr)
        assert _in_use(slot) == ("new" if done.returncode == 0 else "old") or call == "fsync"
    return Outcome(
        tried,
        f"{refused} refused with a message, exit 2; the others did without; a whole bundle stayed in use",
    )


def export_on_a_full_disk(folder: Path, most: int) -> Outcome:
    """A disk that is full before an export has written all of its bundle over an old one."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["export", network(folder), "--data", "digits", "--precision", "fp32", "--evaluation", "40"]
    finish(edgeproof(*command, "--out", folder / "bundle"), folder)
    size = sum(file.stat().st_size for file in (folder / "bundle").iterdir())
    tried = 0
    for share in (0.05, 0.3, 0.6, 0.9)[:most]:
        pages = 1 + int(size * (1 + share)) // 4096 + 8
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs", str(disk)])
        if mounted.returncode:
            return Outcome(0, "not tried: this user may mount no disk")
        try:
            shutil.copytree(folder / "bundle", disk / "bundle")
            done = finish(edgeproof(*command, "--out", disk / "bundle", "--force"), folder, status=2)
            assert "Traceback" not in done.stderr, done.stderr
            assert "No space left" in done.stderr, done.stderr
            assert Bundle.open(disk / "bundle").manifest == Bundle.open(folder / "bundle").manifest
            assert [entry.name for entry in disk.iterdir()] == ["bundle"], "a draft is left"
            tried += 1
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    return Outcome(tried, "refused with a message, exit 2; the old bundle stayed whole, and no draft is left")


def clock_jumps(folder: Path, most: int) -> Outcome:
    """The system's clock goes back a day, or a year on, while frames come."""
    tried = 0
    for jump in (-86_400.0, 31_536_000.0)[:most]:
        tried += 1
        with (
            mock.patch("time.time", jumping(jump)),
            fake_runner(pictures=False) as runner,
        ):
            results = list(runner.stream(memory(_inputs(200))))
        assert [result.frame for result in results] == list(range(200))
        assert all(isinstance(r, Prediction) and 0 <= r.latency_ms < 60_000 for r in results), (
            "a latency jumped"
        )
    return Outcome(tried, "order, counts and latencies (from a clock that never jumps) as without it")


def jumping(jump: float) -> Callable[[], float]:
    """A clock that jumps once, after some readings."""
    calls, real = iter(range(10**9)), time.time
    return lambda: real() + jump * (next(calls) > 50)


def little_memory(folder: Path, most: int) -> Outcome:
    """`run` with too little address space for what it loads."""
    out, ended = folder / "labelled", []
    for megabytes in (150, 300, 450, 600, 800, 1200)[:most]:
        limit = megabytes << 20
        done = subprocess.run(
            edgeproof("run", BUNDLE, BUNDLE / "golden-0.png", "--provider", "cpu", "--precision", "fp32"),
            capture_output=True,
            text=True,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        ended.append(done.returncode)
        assert all(json.loads(line) for line in done.stdout.splitlines()), "a line is cut"
        assert done.returncode != 0 or done.stdout
    assert not out.exists()
    return Outcome(
        len(ended), f"exit statuses {', '.join(map(str, ended))}; every line that was printed is whole"
    )


# --- while frames come ----------------------------------------------------------------------------------


def provider_fails(folder: Path, most: int) -> Outcome:
    """The provider raises at the 1,000th frame."""
    for _ in range(most):
        calls = iter(range(10**9))

        def answer(batch: np.ndarray, calls: Iterator[int] = calls) -> np.ndarray:
            if next(calls) >= 999:
                raise EdgeproofError("the device is gone")
            return np.zeros((len(batch), 2), np.float32)

        seen = []
        with fake_runner(answer, pictures=False, workers=1, streams=1) as runner:
            with pytest.raises(EdgeproofError, match="the device is gone"):
                seen.extend(result.frame for result in runner.stream(memory(_inputs(2000))))
            assert runner.totals.labelled == len(seen)
        assert seen == list(range(999)), f"{len(seen)} results came before the failure"
    return Outcome(most, "the 999 results before it were given, in order, and then the error")


def camera_stalls(folder: Path, most: int) -> Outcome:
    """A camera's driver hangs in the middle of a read."""
    for _ in range(most):
        gate, reads = threading.Event(), iter(range(10**9))

        class Stalled:
            def read(
                self, gate: threading.Event = gate, reads: Iterator[int] = reads
            ) -> tuple[bool, np.ndarray]:
                if next(reads) >= 3:
                    gate.wait(30)
                time.sleep(0.05)
                return True, np.zeros((8, 8, 3), np.uint8)

            def release(self) -> None: ...

        with fake_runner(workers=1, streams=1) as runner:
            stream = runner.stream(Camera("camera:stalled", Stalled))
            seen = [next(stream).frame]
            threading.Timer(1.0, runner.stop).start()
            start = time.monotonic()
            seen += [result.frame for result in stream]
            assert time.monotonic() - start < 15, "a stalled camera holds the runner"
            gate.set()
        assert seen == sorted(seen)
    return Outcome(most, "`stop` ends the stream all the same; what had come was labelled")


def worker_dies(folder: Path, most: int) -> Outcome:
    """A thread that decodes is ended by SystemExit."""
    for _ in range(most):
        frames = [Frame.from_sample("memory", i, each) for i, each in enumerate(_inputs(20))]

        def die() -> np.ndarray:
            raise SystemExit("the worker dies")

        frames[10] = Frame("memory", 10, die)
        seen = []
        with fake_runner(pictures=False, workers=2, streams=1) as runner, pytest.raises(SystemExit):
            seen.extend(result.frame for result in runner.stream(iter(frames)))
        assert seen == list(range(10)), seen
    return Outcome(most, "the results before it were given, in order, and then its end was raised")


def frames_are_torn(folder: Path, most: int) -> Outcome:
    """Files among the pictures are cut off, empty, or no pictures."""
    for _ in range(most):
        pictures = folder / "pictures"
        shutil.rmtree(pictures, ignore_errors=True)
        pictures.mkdir()
        good = (BUNDLE / "golden-0.png").read_bytes()
        for i in range(30):
            (pictures / f"{i:02d}.png").write_bytes((good, good[:100], b"")[i % 3])
        with fake_runner() as runner:
            results = list(runner.stream(str(pictures)))
        bad = [isinstance(result, BadFrame) for result in results]
        assert bad == [i % 3 > 0 for i in range(30)]
    return Outcome(most, "each gave a row with its error; the others were labelled")


# --- what they share ------------------------------------------------------------------------------------


def _spread(count: int, most: int) -> range:
    """Numbers from 1 to `count`, at most `most` of them."""
    return range(1, count + 1, max(1, -(-count // most)))


def _inputs(count: int) -> list[np.ndarray]:
    return [np.full((3, 8, 8), (-1, 1)[i % 2], np.float32) for i in range(count)]


def _whole(folder: Path) -> set[Path]:
    """The bundles in a folder; what looks like one and is none is an error."""
    found = set()
    for path in folder.iterdir():
        if path.name.startswith(".") or not (path / "manifest.json").exists():
            continue
        try:
            Bundle.open(path)
        except BundleError as error:
            raise AssertionError(f"a half-written bundle can be found: {error}") from error
        found.add(path)
    return found


def _export(folder: Path, name: str, day: int) -> Path:
    """A copy of the small bundle as if it was exported on that day."""
    target = folder / name
    shutil.copytree(BUNDLE, target)
    path = target / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest |= {"name": name, "created": f"2026-01-{day:02d}T00:00:00+00:00"}
    manifest["sha256"] = manifest_sha256(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return target


def _in_use(slot: Slot) -> str:
    version = slot.current
    assert version is not None
    return Bundle.open(slot.bundle(version)).manifest.name


TRACED = (install_killed, install_on_a_full_disk, install_on_a_read_only_disk, export_on_a_full_disk)
FAULTS: tuple[Fault, ...] = (
    *(export_killed, training_killed, cache_killed, sweep_killed, *TRACED),
    *(clock_jumps, little_memory, provider_fails, camera_stalls, worker_dies, frames_are_torn),
)
