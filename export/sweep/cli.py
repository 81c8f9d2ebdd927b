"""The command `edgeproof sweep`. What is heavy is imported inside it: a device has this file too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...runtime.command import EXIT_PROOF_FAILED, JsonOption, emit
from ..packages import require_packages


def sweep(
    plan: Annotated[
        Path, typer.Argument(metavar="FILE.toml", help="Lists of models, precisions, targets, seeds.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the bundles and rows.")] = Path(
        "artifacts/sweep"
    ),
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local",
            help="Run on a Ray cluster that shares the folder, or on this machine's cores.",
            show_default="one after the other, here",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Try those once more that failed before.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Export and evaluate every combination of some models, precisions, targets and seeds: one table.

    The same command goes on where it was killed. What failed is a row; the exit status is then 1.
    """
    require_packages("jinja2")
    from ...calibration.progress import Progress
    from ...runtime.records import encode
    from . import show
    from .plan import read_plan
    from .run import sweep as run

    rows = run(read_plan(plan), out, ray=ray, again=again, progress=Progress())
    page = show.write(rows, out)
    emit(json.dumps(encode(rows), indent=2) if as_json else f"{show.text(rows)}\nreport: {page}")
    if any(row.error for row in rows):
        raise typer.Exit(EXIT_PROOF_FAILED)
