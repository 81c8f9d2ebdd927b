"""Coverage-guided fuzzing: a damaged file that reaches new lines of edgeproof is damaged further.

    python tests/fuzz/guided.py [--minutes 10] [FORMAT ...]

atheris (LLVM's libFuzzer for Python) keeps what reaches new lines; the damages and what counts as a finding
are those of fuzzing.py, and findings go to the same corpus. Each format runs in a process of its own. Exit
status 1: there were findings. atheris has wheels for Linux on x86-64.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMATS = (
    "manifest",
    "preprocess",
    "cache",
    "tensor",
    "calibration",
    "class_index",
    "coco",
    "voc",
    "signature",
)
HERE = Path(__file__)
STARTING_SECONDS = 120


def main() -> None:
    """Fuzz each format for its share of the time, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of those read by Python: {FORMATS}")
    options = parser.parse_args()
    chosen = options.formats or FORMATS
    seconds = max(1, round(60 * options.minutes / len(chosen)))
    outcomes = [in_a_process(name, seconds) for name in chosen]
    for outcome in outcomes:
        print(
            f"{outcome['name']}: {outcome['cases']} cases, {'; '.join(outcome['findings']) or 'no findings'}"
        )
    sys.exit(any(outcome["findings"] for outcome in outcomes))


def in_a_process(name: str, seconds: int) -> dict:
    """Fuzz one format in a process of its own, whose death is a finding too."""
    with tempfile.TemporaryDirectory() as folder:
        call = "import sys; sys.path.insert(0, sys.argv.pop()); import guided; guided.fuzz(*sys.argv[1:])"
        command = [sys.executable, "-c", call, name, str(seconds), folder, str(HERE.parent)]
        log, result = Path(folder) / "log", Path(folder) / "result.json"
        with log.open("wb") as stream:
            child = subprocess.Popen(command, stdout=stream, stderr=stream)
            try:
                status = child.wait(seconds + STARTING_SECONDS)
            except subprocess.TimeoutExpired:  # after an exception of ours, libFuzzer waits for ever
                child.kill()
                status = child.wait()
        outcome = (
            json.loads(result.read_text()) if result.exists() else {"name": name, "cases": 0, "findings": []}
        )
        if status:
            last = (log.read_text(errors="replace").strip().splitlines() or ["without a word"])[-1]
            outcome["findings"].append(f"the process ended with status {status}: {last}")
    return outcome


def fuzz(name: str, seconds: str, place: str) -> None:
    """Fuzz one format until the time is over; never returns. The outcome goes to `place`/result.json."""
    import atheris

    with atheris.instrument_imports(include=["edgeproof"]):
        import formats
        import fuzzing
        import mutate
    folder, corpus = Path(place), fuzzing.CORPUS / name
    work, start = folder / "work", folder / "start"
    work.mkdir()
    start.mkdir()
    corpus.mkdir(parents=True, exist_ok=True)  # there libFuzzer writes the case by which the process ends
    (form,) = (each for each in formats.formats(work) if each.name == name)
    for number, good in enumerate(form.seeds):
        fuzzing.examine(form, good)
        (start / str(number)).write_bytes(good)
    outcome = {"name": name, "cases": 0, "findings": []}

    def read(data: bytes) -> None:
        _, finding = fuzzing.examine(form, data)
        outcome["cases"] += 1
        if finding and not any(finding in each for each in outcome["findings"]):
            outcome["findings"].append(f"{fuzzing.keep(name, data)}: {finding}")
        over = time.monotonic() > deadline
        if over or finding:
            (folder / "result.json").write_text(json.dumps(outcome))
        if over:
            os._exit(0)  # libFuzzer's own end waits for a thread that is gone

    def damage(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)  # noqa: S311 - it must be the same again
        try:
            return form.mutate(data, chance)[:most]
        except (ValueError, RecursionError):  # what is no JSON any more has no parts to change
            return mutate.mutated_bytes(data, chance)[:most]

    # fuzzing.py limits the memory: what libFuzzer reads also counts the process that started this one.
    options = ["-max_len=1048576", "-handle_alrm=0", "-rss_limit_mb=0", f"-artifact_prefix={corpus}/"]
    atheris.Setup([sys.argv[0], *options, str(start)], read, custom_mutator=damage)
    fuzzing.limit_memory()
    signal.signal(signal.SIGALRM, fuzzing.too_long)
    deadline = time.monotonic() + float(seconds)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
