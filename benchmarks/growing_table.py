"""A Markdown table that grows over several runs: a row that is not measured again stays as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def lines(columns: Sequence[str], rows: Mapping[str, Sequence[str]], order: Iterable[str]) -> list[str]:
    """The table as Markdown.

    Args:
        columns: the heading, of which the first names a row.
        rows: the other cells of each, by name.
        order: names of rows in the order of the table; those without a row are left out.
    """
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return [*head, *(f"| {' | '.join([name, *rows[name]])} |" for name in order if name in rows)]


def rows_in(path: Path | None, columns: Sequence[str]) -> dict[str, list[str]]:
    """The rows of a file's table by name; none where there is no file, or its table has other columns."""
    if path is None or not path.is_file():
        return {}
    found = [_cells(line) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    if not found or found[0] != list(columns):
        return {}
    return {cells[0]: cells[1:] for cells in found[2:] if len(cells) == len(columns)}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
