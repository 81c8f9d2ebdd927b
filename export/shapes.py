"""Shapes as they are typed."""

from __future__ import annotations

from ..runtime.errors import InputError


def parse_shape(text: str) -> tuple[int, ...]:
    """The sides of CxHxW.

    Raises:
        InputError: it is no such text.
    """
    parts = text.lower().split("x")
    if len(parts) < 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--input {text} is not a shape.", wanted="CxHxW, such as 3x224x224")
    return tuple(int(part) for part in parts)
