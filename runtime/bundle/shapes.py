"""Whether an array has the shape that a model declares."""

from __future__ import annotations

from collections.abc import Sequence


def fits(declared: Sequence[int | str | None], found: Sequence[int]) -> bool:
    """Whether a shape is one that was declared.

    Args:
        declared: the sides; what is not an int (a name, or None) stands for an axis of any length.
        found: the array's shape.
    """
    return len(declared) == len(found) and all(
        not isinstance(side, int) or side == got for side, got in zip(declared, found, strict=True)
    )
