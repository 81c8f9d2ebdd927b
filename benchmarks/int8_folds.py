"""INT8 of MobileNetV2 calibrated on several draws of photographs, each judged by all the others.

    python benchmarks/int8_folds.py --photographs DIR --checkpoint FILE [--write FILE.md] [--fresh]

One draw of 128 out of 500 photographs leaves 372 judges, of which one is 0.27 points. Here three draws that
share no photograph calibrate in turn, by edgeproof and by the rival with the fewest changed answers. A
photograph counts once: with the mean of the draws that it judged. FILE.md is the page of `int8.py`, in which
this is a section of its own; a draw that was measured stays in artifacts/int8/rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import int8
import numpy as np
import onnx
from int8_subjects import Material, subjects
from numpy.typing import NDArray
from page import Figure, figure_table

from edgeproof.export.data.dataset import CALIBRATION_SAMPLES
from edgeproof.runtime.bundle.accuracy import Accuracy, paired_accuracy
from edgeproof.runtime.inference.concurrency import cores
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.tasks.registry import parse_task

NETWORK = "mobilenet_v2"
SECTION = f"{NETWORK}-folds"
DRAWS, SEED = 3, 0
TOOLS = (int8.OUR_DEFAULT, "Model Optimizer, entropy")
ROWS = int8.ROWS / SECTION
SHARE = parse_task("classification").agreement  # of samples that are right
COLUMNS = (
    *("tool", "agreement with float lost, points", "of each draw", "top-1 lost, points", "SQNR, dB"),
    *("layers in INT8", "CPU s", "s", "peak MB"),
)


@dataclass(frozen=True)
class Judged:
    """What a tool's model answers after one draw.

    Attributes:
        positions: of the photographs that judge.
        answers: the class of each.
        error, signal: sums of squares of the logits' error and of float's logits.
        layers: of them in INT8, of how many.
        seconds: CPU time of the tool.
        megabytes: its peak memory.
        elapsed: its time in seconds.
    """

    positions: list[int]
    answers: list[int]
    error: float
    signal: float
    layers: str
    seconds: float
    megabytes: float
    elapsed: float


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photographs", type=Path, metavar="DIR", required=True)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", required=True)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("--fresh", action="store_true", help="measure every draw anew")
    options = parser.parse_args()
    if options.fresh:
        shutil.rmtree(ROWS, ignore_errors=True)
    found = subjects(options.photographs, options.checkpoint, None)
    text = "\n".join(section(Folds(next(each for each in found if each.name == NETWORK).make())))
    print(text)
    if options.write:
        sections = int8.sections_in(options.write) | {SECTION: text}
        options.write.write_text(int8.render(sections), encoding="utf-8")


class Folds:
    """All photographs, and what the float model makes of them.

    Args:
        material: of which both parts are put together.

    Attributes:
        inputs: shape (N, 3, H, W).
        truths: the class of each, shape (N,).
        logits: float's, shape (N, classes).
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self.inputs = np.concatenate([material.calibration, material.judging])
        self.truths = np.concatenate([np.asarray(material.calibration_truths), np.asarray(material.truths)])
        self.logits = logits(material.model, self.inputs)

    def draws(self) -> list[NDArray[np.int64]]:
        """Positions of the photographs that calibrate, for each draw; none is in two of them."""
        order = np.random.default_rng(SEED).permutation(len(self.inputs))
        return [order[start * CALIBRATION_SAMPLES :][:CALIBRATION_SAMPLES] for start in range(DRAWS)]

    def judged(self, tool: str) -> list[Judged]:
        """What a tool's models answer, for each draw, measured once."""
        return [self._kept(tool, number, drawn) for number, drawn in enumerate(self.draws())]

    def _kept(self, tool: str, number: int, drawn: NDArray[np.int64]) -> Judged:
        path = ROWS / f"{tool.replace(' ', '_').replace(',', '')}-{number}.json"
        if not path.exists():
            print(f"{SECTION}: {tool}, draw {number + 1} ...", file=sys.stderr, flush=True)
            found = self._measured(tool, drawn)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(found)), encoding="utf-8")
        return Judged(**json.loads(path.read_text(encoding="utf-8")))

    def _measured(self, tool: str, drawn: NDArray[np.int64]) -> Judged:
        others = np.setdiff1d(np.arange(len(self.inputs)), drawn)
        with tempfile.TemporaryDirectory() as folder:
            calibration, out = Path(folder) / "calibration.npy", Path(folder) / "int8.onnx"
            np.save(calibration, self.inputs[drawn])
            run = int8.measured(int8.command(tool, self.material, calibration, out))
            found, wanted = logits(out, self.inputs[others]), self.logits[others]
            return Judged(
                others.tolist(),
                found.argmax(axis=1).tolist(),
                float(np.sum((found - wanted) ** 2)),
                float(np.sum(wanted**2)),
                int8.layers_in_int8(onnx.load(out)),
                run.seconds,
                run.megabytes,
                run.elapsed,
            )

    def changed(self, found: Sequence[Judged]) -> Accuracy:
        """How many of float's answers are lost."""
        return self._pooled(self.logits.argmax(axis=1), found)

    def lost(self, found: Sequence[Judged]) -> Accuracy:
        """How many right answers are lost."""
        return self._pooled(self.truths, found)

    def _pooled(self, right: NDArray[np.int64], found: Sequence[Judged]) -> Accuracy:
        reference, times = self.logits.argmax(axis=1) == right, np.zeros(len(right))
        candidate = np.zeros(len(right))
        for judged in found:
            times[judged.positions] += 1
            candidate[judged.positions] += np.asarray(judged.answers) == right[judged.positions]
        seen = times > 0
        was, now = reference[seen].astype(float), candidate[seen] / times[seen]
        return paired_accuracy(SHARE, was.tolist(), now.tolist())


def logits(model: Path, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """A model's first output for each input, shape (N, classes)."""
    with Session(model.read_bytes()) as session:
        found = [next(iter(session.run(inputs[i : i + 1]).values())) for i in range(len(inputs))]
    return np.concatenate(found).astype(np.float64)


def section(folds: Folds) -> Iterator[str]:
    """The heading and the tables."""
    rows = {tool: folds.judged(tool) for tool in TOOLS}
    yield from (f"{int8.HEADING}{SECTION}", "")
    yield f"{DRAWS} draws of {CALIBRATION_SAMPLES} of the {len(folds.inputs)} photographs calibrate in turn;"
    yield "they share none, and each is judged by all the others. A photograph counts once, with the"
    yield f"mean of the draws that it judged. Measured on {date.today().isoformat()}, {cores()} cores."
    yield from ("", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS))
    for tool, found in rows.items():
        yield f"| {' | '.join([tool, *cells(folds, found)])} |"
    yield from ("", *figure_table(beside(folds, rows)))


def cells(folds: Folds, found: Sequence[Judged]) -> Iterator[str]:
    """The cells of one tool."""
    yield int8.lost(folds.changed(found))
    yield ", ".join(f"{folds.changed([judged]).drop:.2f}" for judged in found)
    yield int8.lost(folds.lost(found))
    yield f"{decibels(found):.1f}"
    yield ", ".join(dict.fromkeys(judged.layers for judged in found))
    yield f"{np.mean([judged.seconds for judged in found]):.0f}"
    yield f"{np.mean([judged.elapsed for judged in found]):.0f}"
    yield f"{max(judged.megabytes for judged in found):.0f}"


def beside(folds: Folds, rows: dict[str, list[Judged]]) -> Iterator[Figure]:
    """Ours beside the rival's, with what was set as a goal."""
    (ours, theirs), rival = rows.values(), TOOLS[1]
    had, has = decibels(theirs), decibels(ours)
    gap = f"{has - had:+.1f} dB"
    yield Figure(f"{SECTION}: SQNR, dB", f"{has:.1f}", f"{had:.1f} ({rival})", gap, "at least 24 dB")
    for name, measure, goal in (
        ("answers that changed", folds.changed, 2.0),
        ("top-1 lost", folds.lost, 0.3),
    ):
        mine, other = measure(ours), measure(theirs)
        gap = f"{mine.drop - other.drop:+.2f} points"
        beside_it = f"{int8.lost(other)} ({rival})"
        yield Figure(f"{SECTION}: {name}, points", int8.lost(mine), beside_it, gap, f"at most {goal} points")
    taken, least = (np.mean([judged.elapsed for judged in found]) for found in (ours, theirs))
    ratio = f"{taken / least:.2f}"
    yield Figure(f"{SECTION}: time, s", f"{taken:.0f}", f"{least:.0f} ({rival})", ratio, "at most 90 s")


def decibels(found: Sequence[Judged]) -> float:
    """Signal over error of all draws together."""
    signal, error = sum(judged.signal for judged in found), sum(judged.error for judged in found)
    return float(10 * np.log10(signal / error))


if __name__ == "__main__":
    main()
