"""A sweep as a table, as data, and as one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...runtime.bundle.manifest import PRECISIONS
from ...runtime.files import publish_file
from ...runtime.records import encode
from ..evaluation.show import table
from ..report.render import fill
from .cell import BUNDLE, Row

PAGE, DATA = "sweep.html", "sweep.json"
TEMPLATE = Path(__file__).with_name("page.html")


def cells_of(row: Row) -> tuple[str, ...]:
    """A row in words, as `HEAD` names them."""
    cell = row.cell
    models = row.precisions or {}
    metric = next(iter(models.values())).metric if models else ""
    values = []
    for name in PRECISIONS:
        model = models.get(name)
        drop = "" if model is None or name == "fp32" else f" ({model.drop:+.2f})"
        values.append("" if model is None else f"{model.value:.2f}{drop}")
    verdict = f"failed: {row.error.splitlines()[0]}" if row.error else row.ship
    return (
        cell.model,
        cell.target,
        "" if cell.seed is None else str(cell.seed),
        metric,
        *values,
        *(f"{models[name].bytes / 1024:.0f}" if name in models else "" for name in PRECISIONS),
        verdict + ("" if row.decided else ", not decided"),
        f"{row.seconds:.0f}",
    )


HEAD = (
    *("model", "target", "seed", "metric"),
    *(f"{name} %" for name in PRECISIONS),
    *(f"{name} KiB" for name in PRECISIONS),
    *("ship", "s"),
)


def text(rows: Sequence[Row]) -> str:
    """The table, and how many failed."""
    failed = sum(bool(row.error) for row in rows)
    count = f"{len(rows)} combinations" + (f", {failed} failed" if failed else "")
    return "\n".join([*table(HEAD, [cells_of(row) for row in rows]), count])


def write(rows: Sequence[Row], out: Path) -> Path:
    """Publish the rows as JSON and as a page with a link to each bundle's report.

    Returns:
        The page.

    Raises:
        OutputError: the place cannot be written.
    """
    shown: list[dict[str, Any]] = [
        {
            "cells": cells_of(row),
            "report": "" if row.error else f"{row.folder}/{BUNDLE}/report.html",
            "error": row.error,
        }
        for row in rows
    ]
    page = fill(TEMPLATE, head=HEAD, rows=shown)
    with publish_file(out / DATA) as draft:
        draft.write_text(json.dumps(encode(rows), indent=2) + "\n", encoding="utf-8")
    with publish_file(out / PAGE) as draft:
        draft.write_text(page, encoding="utf-8")
    return out / PAGE
