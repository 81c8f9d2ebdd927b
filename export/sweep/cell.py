"""One combination of a sweep: trained where that is asked for, exported, measured; its row is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...runtime.errors import EdgeproofError, gist
from ...runtime.files import publish_file
from ...runtime.records import decode, encode
from .plan import Cell

ROW = "row.json"
BUNDLE = "bundle"


@dataclass(frozen=True)
class PrecisionRow:
    """One model: its metric in percent, what it lost with its 95 % interval, in points, and its size."""

    metric: str
    value: float
    drop: float
    ci95: tuple[float, float]
    parity: bool
    bytes: int


@dataclass(frozen=True)
class Row:
    """What came of one combination.

    Attributes:
        cell: the combination.
        folder: of the sweep's own, in which its files are.
        seconds: that it took.
        error: why it failed; empty where it did not.
        ship: the verdict; empty where it failed.
        decided: whether the verdict's interval decided.
        precisions: by name, each model as `evaluate` measured it.
    """

    cell: Cell
    folder: str
    seconds: float
    error: str = ""
    ship: str = ""
    decided: bool = True
    precisions: Mapping[str, PrecisionRow] | None = None


def run_cell(cell: Cell, out: Path) -> Row:
    """Carry out a combination, and keep its row. What fails is a row, too.

    Args:
        cell: the combination.
        out: the sweep's folder.
    """
    folder = out / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    try:
        row = _measured(cell, folder)
    except EdgeproofError as error:
        row = Row(cell, cell.name, 0.0, error=str(error))
    except Exception as error:  # a network of the user's may raise anything; the other cells go on
        row = Row(cell, cell.name, 0.0, error=f"{type(error).__name__}: {gist(error)}")
    row = replace(row, seconds=round(time.perf_counter() - started, 1))
    with publish_file(folder / ROW) as draft:
        draft.write_text(json.dumps(encode(row), indent=2) + "\n", encoding="utf-8")
    return row


def kept_row(cell: Cell, out: Path) -> Row | None:
    """The row of a combination that was carried out before; None where there is none, or another's."""
    try:
        row = decode(Row, json.loads((out / cell.name / ROW).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return row if row.cell == cell else None


def _measured(cell: Cell, folder: Path) -> Row:
    from ..evaluation.evaluate import EvaluateRequest, evaluate_bundle
    from ..pipeline import export_bundle
    from ..request import ExportRequest

    bundle = export_bundle(
        ExportRequest(
            model=cell.model,
            out=folder / BUNDLE,
            weights=cell.weights if cell.seed is None else str(_trained(cell, cell.seed, folder)),
            data=cell.data,
            precisions=cell.precisions,
            target=cell.target,
            evaluation=cell.evaluation,
            max_drop=cell.max_drop,
            force=True,
        )
    )
    found = evaluate_bundle(EvaluateRequest(bundle.folder, cell.data, samples=cell.evaluation))
    verdict, models = bundle.manifest.verdict, bundle.manifest.models
    rows = {
        name: PrecisionRow(
            metric=each.accuracy.metric,
            value=each.accuracy.value,
            drop=each.accuracy.drop,
            ci95=each.accuracy.ci95,
            parity=models[name].parity.passed,
            bytes=models[name].bytes,
        )
        for name, each in found.precisions.items()
    }
    return Row(cell, cell.name, 0.0, ship=verdict.ship, decided=verdict.decided, precisions=rows)


def _trained(cell: Cell, seed: int, folder: Path) -> Path:
    """Weights of a training with the seed; it goes on where it was interrupted."""
    from ..training.folder import WEIGHTS
    from ..training.run import TrainRequest, train_model

    request = TrainRequest(cell.model, data=cell.data, recipe={"seed": seed}, out=folder / "training")
    return train_model(request).folder / WEIGHTS
