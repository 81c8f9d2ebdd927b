"""Whether an array has the shape and the dtype that a model declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..errors import EdgeproofError


def fits(declared: Sequence[int | str | None], found: Sequence[int]) -> bool:
    """Whether a shape is one that was declared.

    Args:
        declared: the sides; what is not an int (a name, or None) stands for an axis of any length.
        found: the array's shape.
    """
    return len(declared) == len(found) and all(
        not isinstance(side, int) or side == got for side, got in zip(declared, found, strict=True)
    )


def require_fit(
    array: NDArray[Any],
    shape: Sequence[int | str | None],
    dtype: str,
    refusal: type[EdgeproofError],
    message: str,
    todo: str = "",
) -> None:
    """Refuse an array of another shape or dtype than was declared.

    Args:
        array: what was given.
        shape: as for `fits`.
        dtype: numpy's name of the declared type.
        refusal: what is raised then.
        message: what is wrong, in a sentence.
        todo: what to do about it.

    Raises:
        EdgeproofError: of the class `refusal`.
    """
    if not fits(shape, array.shape) or array.dtype != dtype:
        sides = ", ".join("N" if side is None else str(side) for side in shape)
        raise refusal(
            message,
            wanted=f"{dtype} of shape ({sides})",
            got=f"{array.dtype} of shape {array.shape}",
            todo=todo,
        )
