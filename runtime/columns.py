"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], heading: int = 0) -> list[str]:
    """A line for each row, its cells flushed right in columns as wide as their widest cell.

    Args:
        rows: cells, as many in each row.
        heading: behind how many rows a rule is drawn; 0 for none.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    if heading:
        lines.insert(heading, "  ".join("-" * width for width in widths))
    return lines
