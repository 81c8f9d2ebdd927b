"""Faults, one after the other, and what came of each.

    python tests/faults/reliability.py [--times 20] [--write FILE.md] [FAULT ...]

A fault with more moments than --times is tried at as many of them, evenly spread. Exit status 1: something
was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from faults import FAULTS, Fault


def main() -> None:
    """Try each fault, print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.faults or fault.__name__ in options.faults]
    rows = [row(fault, options.times) for fault in chosen]
    text = "\n".join([*heading(), *(cells for cells, _ in rows)]) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    sys.exit(not all(kept for _, kept in rows))


def row(fault: Fault, times: int) -> tuple[str, bool]:
    """The row of a fault, and whether nothing was lost."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = fault(Path(folder), times)
            tried, happened, lost = str(outcome.tried), outcome.happened, "nothing"
        except AssertionError as error:
            tried, happened, lost = "-", "-", " ".join(str(error).split())[:300]
    what = " ".join((fault.__doc__ or "").split()).rstrip(".")
    print(f"{fault.__name__}: {lost} lost, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return f"| {what} | {tried} | {happened} | {lost} |", lost == "nothing"


def heading() -> list[str]:
    """What stands above the rows."""
    return [
        "# Reliability",
        "",
        f"Written by `make reliability` on {date.today().isoformat()}: faults, how often each was tried,",
        "what happened, and what was lost. Long runs are in [soak.md](soak.md), hostile input in",
        "[hostile_input.md](hostile_input.md).",
        "",
        "| fault | times | what happened | lost |",
        "|---|---|---|---|",
    ]


if __name__ == "__main__":
    main()
