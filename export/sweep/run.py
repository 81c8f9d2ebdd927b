"""All combinations of a sweep that are not done yet, in this process or on Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...calibration.progress import Progress
from ...runtime.errors import MissingDependency
from .cell import Row, kept_row, run_cell
from .plan import Cell, Plan

LOCAL = "local"


def sweep(
    plan: Plan, out: Path, *, ray: str | None = None, again: bool = False, progress: Progress | None = None
) -> list[Row]:
    """Carry out what is not done; the same call goes on where a sweep was killed.

    Args:
        plan: the combinations.
        out: folder of their bundles and rows.
        ray: address of a Ray cluster that shares the folder, or "local" for one on this machine's cores; None
            for this process.
        again: whether combinations that failed before are tried again.
        progress: shows what goes on; None for silence.

    Returns:
        A row for each combination, those that failed among them, in the plan's order.

    Raises:
        MissingDependency: Ray is asked for and not installed.
    """
    progress = progress or Progress(quiet=True)
    out = out.resolve()
    cells = plan.cells()
    kept = {cell: row for cell in cells if (row := kept_row(cell, out)) and not (again and row.error)}
    left = [cell for cell in cells if cell not in kept]
    if kept:
        progress.note(f"{len(kept)} of {len(cells)} combinations were done before")
    run = _here(left, out) if ray is None else _on_ray(left, out, ray)
    for row in progress.track(run, len(left), "combinations"):
        kept[row.cell] = row
        progress.note(f"{row.folder}: {row.error.splitlines()[0] if row.error else f'ship {row.ship}'}")
    return [kept[cell] for cell in cells]


def _here(cells: Sequence[Cell], out: Path) -> Iterator[Row]:
    return (run_cell(cell, out) for cell in cells)


def _on_ray(cells: Sequence[Cell], out: Path, address: str) -> Iterator[Row]:
    """As they end. A worker that dies leaves a row that says so, which the next sweep tries again."""
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("ray", "sweep", "A sweep on several workers") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    if not ray.is_initialized():
        ray.init(address=None if address == LOCAL else address, log_to_driver=False, include_dashboard=False)
    task = ray.remote(num_cpus=1, max_retries=1)(run_cell)
    waiting = {task.remote(cell, out): cell for cell in cells}
    while waiting:
        (done, *_), _ = ray.wait(list(waiting), num_returns=1)
        cell = waiting.pop(done)
        try:
            yield ray.get(done)
        except ray.exceptions.RayError as error:
            yield Row(cell, cell.name, 0.0, error=f"The worker ended: {error}")
