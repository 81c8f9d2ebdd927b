"""Commands that are killed, or whose system calls fail, at a chosen moment."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

NETWORK = """
import torch
from torch import nn


def build(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, num_classes),
    )
"""
CALLS = (
    *("rename", "renameat", "renameat2", "symlink", "symlinkat", "link", "linkat", "fsync", "fdatasync"),
    *("unlink", "unlinkat", "rmdir", "mkdir", "write", "sendfile", "copy_file_range"),
)


def edgeproof(*arguments: object) -> list[str]:
    """The command line of a command."""
    return [sys.executable, "-B", "-m", "edgeproof.export", *map(str, arguments)]


def environment(folder: Path) -> dict[str, str]:
    """With a cache of its own."""
    return {**os.environ, "EDGEPROOF_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}


def network(folder: Path) -> str:
    """A user's own network."""
    (folder / "network.py").write_text(NETWORK)
    return f"{folder / 'network.py'}:build"


def finish(command: Sequence[str], folder: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which must have this exit status."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(folder))
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stderr}"
    return done


def lines_of(command: Sequence[str], folder: Path, pattern: str) -> int:
    """How many lines of that kind a command writes to stderr, run to its end."""
    return len(re.findall(pattern, finish(command, folder).stderr, re.MULTILINE))


def kill_after(command: Sequence[str], folder: Path, pattern: str, count: int) -> bool:
    """Kill a command with SIGKILL at a line of that kind on its stderr; False where it ended before it."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(folder)
    ) as process:
        assert process.stderr is not None
        seen = 0
        for line in process.stderr:
            seen += bool(re.search(pattern, line))
            if seen == count:
                process.send_signal(signal.SIGKILL)
                break
        process.stderr.close()
        return process.wait() == -signal.SIGKILL


def has_strace() -> bool:
    """Whether system calls can be made to fail here."""
    return shutil.which("strace") is not None


def traced(
    log: Path, options: Sequence[str], program: Sequence[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a program under strace."""
    command = ["strace", "-f", "-qq", "-y", "-o", str(log), *options, *program]
    return subprocess.run(command, capture_output=True, text=True, env=environment(folder))


def calls_under(place: Path, log: Path) -> list[tuple[str, int]]:
    """The calls that name a place, each with its number among those of its kind in the whole process."""
    found, counts = [], dict.fromkeys(CALLS, 0)
    for line in log.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call and call[1] in counts:
            counts[call[1]] += 1
            if str(place) in line:
                found.append((call[1], counts[call[1]]))
    return found


def at_each_call(
    place: Path, program: Sequence[str], folder: Path, effect: str, prepare: Callable[[], None], most: int
) -> Iterator[tuple[str, subprocess.CompletedProcess[str]]]:
    """Run a program again and again, each time with another of its calls under a place failing.

    Args:
        place: whose calls.
        program: what runs.
        folder: for the log, and the program's cache.
        effect: what strace injects, such as `signal=KILL` or `error=ENOSPC`.
        prepare: puts everything as it was, before each run.
        most: calls to try, spread evenly where there are more.

    Yields:
        The call's name, and how the run ended.
    """
    log = folder / "strace.log"
    prepare()
    done = traced(log, ["-e", f"trace={','.join(CALLS)}"], program, folder)
    assert done.returncode == 0, done.stderr
    points = calls_under(place, log)
    assert points, f"no call names {place}"
    for name, number in points[:: max(1, -(-len(points) // most))]:
        prepare()
        inject = ["-e", f"trace={name}", "-e", f"inject={name}:{effect}:when={number}"]
        yield name, traced(log, inject, program, folder)
