"""Fuzzing: damaged files, read until the time is over. Nothing but edgeproof's own errors may come of them.

    python tests/fuzz/fuzzing.py [--minutes 10] [--seed 0] [--write FILE.md] [FORMAT ...]

Each format is read in a process of its own, which may take a gigabyte more than it has at its start and five
seconds a case. A finding (another exception, a crash, a hang, too much memory, code that was run) is kept in
tests/fuzz/corpus/FORMAT, which the tests read again ever after. FILE.md keeps its rows of formats that are
left out. Exit status 1: there were findings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from types import FrameType

from formats import ALLOWED, Format, formats

CORPUS = Path(__file__).with_name("corpus")
MEMORY = Path("/dev/shm")  # noqa: S108 - a disk would be written a million times
MOST_SECONDS = 5.0
MOST_BYTES = 1 << 30
MOST_CASES = 1_000_000


class TooLong(BaseException):
    """A case took longer than it may. No handler of edgeproof's catches it."""


@dataclass
class Outcome:
    """What came of a format.

    Attributes:
        cases: how many files were read.
        refused: how many of them with an error of edgeproof's.
        seconds: the longest case.
        grown: bytes by which the process's peak memory grew.
        findings: what went wrong, one line each.
    """

    name: str
    cases: int = 0
    refused: int = 0
    seconds: float = 0.0
    grown: int = 0
    findings: tuple[str, ...] = ()


def main() -> None:
    """Fuzz each format for its share of the time, print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--cases", type=int, default=MOST_CASES, help="most of one format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("formats", nargs="*", metavar="FORMAT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = [each.name for each in formats(Path(folder))]
    chosen = options.formats or names
    seconds = 60 * options.minutes / len(chosen)
    outcomes = [in_a_process(name, seconds, options.cases, options.seed) for name in chosen]
    rows = rows_in(options.write) | {outcome.name: row(outcome) for outcome in outcomes}
    report = render([rows[name] for name in names if name in rows], options.seed)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")
    sys.exit(any(outcome.findings for outcome in outcomes))


def in_a_process(name: str, seconds: float, cases: int, seed: int) -> Outcome:
    """Fuzz one format in a process of its own, whose death is a finding too."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        result, last = Path(folder) / "result.json", Path(folder) / "last"
        process = multiprocessing.get_context("spawn").Process(
            target=fuzz, args=(name, seconds, cases, seed, Path(folder))
        )
        process.start()
        process.join()
        found = json.loads(result.read_text()) if result.exists() else {"name": name}
        outcome = Outcome(**found)
        if process.exitcode:
            keep(name, last.read_bytes() if last.exists() else b"")
            outcome.findings = (*outcome.findings, f"the process ended with status {process.exitcode}")
    print(f"{name}: {outcome.cases} cases, {len(outcome.findings)} findings", file=sys.stderr, flush=True)
    return outcome


def fuzz(name: str, seconds: float, cases: int, seed: int, folder: Path) -> None:
    """Read damaged files of one format until the time is over; the outcome goes to `folder`/result.json."""
    work = folder / "work"
    work.mkdir()
    (form,) = (each for each in formats(work) if each.name == name)
    for good in form.seeds:
        examine(form, good)  # whatever is loaded once is loaded now
    limit_memory()
    signal.signal(signal.SIGALRM, too_long)
    outcome, chance = Outcome(name), random.Random(f"{seed} {name}")  # noqa: S311 - it must be the same again
    base, deadline = peak(), time.monotonic() + seconds
    findings: dict[str, str] = {}
    last = os.open(folder / "last", os.O_RDWR | os.O_CREAT)
    while time.monotonic() < deadline and outcome.cases < cases:
        data = form.mutate(chance.choice(form.seeds), chance)
        os.ftruncate(last, 0)
        os.pwrite(last, data, 0)
        start = time.monotonic()
        refused, finding = examine(form, data)
        outcome.seconds = max(outcome.seconds, time.monotonic() - start)
        outcome.cases += 1
        outcome.refused += refused
        if finding and finding not in findings:
            findings[finding] = keep(name, data)
    outcome.grown = peak() - base
    outcome.findings = tuple(f"{path}: {finding}" for finding, path in findings.items())
    (folder / "result.json").write_text(json.dumps(asdict(outcome)))


def examine(form: Format, data: bytes) -> tuple[bool, str]:
    """Read one file; whether it was refused, and what is wrong with how it was read: empty for nothing."""
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        form.read(data)
    except ALLOWED:
        return True, ""
    except TooLong:
        return False, f"longer than {MOST_SECONDS:.0f} s"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return False, f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return False, ""


def too_long(number: int, frame: FrameType | None) -> None:
    """The alarm."""
    raise TooLong


def keep(name: str, data: bytes) -> str:
    """Put a finding into the corpus; returns its path from there."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return f"{name}/{path.name}"


def limit_memory() -> None:
    """Let this process have a gigabyte more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def peak() -> int:
    """Bytes of resident memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rows_in(path: Path | None) -> dict[str, str]:
    """What a page says of each format, by name."""
    if path is None or not path.is_file():
        return {}
    _, *rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {line.split()[1]: line for line in rows}


def row(outcome: Outcome) -> str:
    """One outcome as a row of the page's table."""
    figures = f"{outcome.refused} | {1000 * outcome.seconds:.0f} | {outcome.grown / 2**20:.1f}"
    findings = "; ".join(outcome.findings) or "none"
    return f"| {outcome.name} | {outcome.cases} | {figures} | {findings} |"


def render(rows: list[str], seed: int) -> str:
    """The page as Markdown."""
    lines = [
        "# Hostile input",
        "",
        f"Written by `make fuzz` on {date.today().isoformat()}, seed {seed}: damaged files of each format,",
        "read by the code that reads them from strangers. A case may raise edgeproof's own errors and",
        f"nothing else; it may take {MOST_SECONDS:.0f} s, and {MOST_BYTES >> 20} MiB more than there were.",
        "",
        "| format | cases | refused | longest, ms | memory grew, MiB | findings |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
