"""Where a point of a picture stands in the model's input, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """How preprocessing moves points: in the input x is scale·x + shift of what it is in the picture.

    Attributes:
        picture: (width, height) of the picture, in pixels.
        input: (width, height) of the model's input, in pixels.
        scale: by which x and y are multiplied.
        shift: what is then added to them, in pixels of the input.
    """

    picture: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def then(self, inner: Geometry) -> Geometry:
        """This step and one that begins with its result."""
        scale = (self.scale[0] * inner.scale[0], self.scale[1] * inner.scale[1])
        x, y = (self.shift[i] * inner.scale[i] + inner.shift[i] for i in (0, 1))
        return Geometry(self.picture, inner.input, scale, (x, y))

    def boxes_in_input(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes of the picture, shape (N, 4): left, top, right, bottom, in pixels of the input, unclipped."""
        return (boxes * np.tile(self.scale, 2) + np.tile(self.shift, 2)).astype(np.float32)

    def boxes_in_picture(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Boxes of the input, shape (N, 4), in the picture's pixels, clipped to the picture."""
        found = (boxes - np.tile(self.shift, 2)) / np.tile(self.scale, 2)
        return np.clip(found, 0, np.tile(self.picture, 2)).astype(np.float32)

    def map_in_picture(self, values: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """A map of the input, of shape (h, w) and any size, as one of the picture, shape (height, width).

        Args:
            values: one value a cell; its edges are those of the input.
            outside: the value of what the input does not show, as where a crop cut it off.
        """
        rows, columns = (self._cells(axis, values.shape[1 - axis]) for axis in (1, 0))
        inside = ((rows >= 0) & (rows < values.shape[0]))[:, None] & (
            (columns >= 0) & (columns < values.shape[1])
        )
        found = values[np.clip(rows, 0, values.shape[0] - 1)][:, np.clip(columns, 0, values.shape[1] - 1)]
        return np.where(inside, found, np.uint8(outside))

    def map_in_input(
        self, values: NDArray[np.uint8], shape: tuple[int, int], outside: int
    ) -> NDArray[np.uint8]:
        """A map of the picture, shape (height, width), as one of the input with another number of cells.

        Args:
            values: one value a pixel of the picture.
            shape: (rows, columns) of the result; its edges are those of the input.
            outside: the value where the input shows no picture, as where it is padded.
        """
        found = np.full(shape, outside, np.uint8)
        rows, columns = self._pixels(1, shape[0]), self._pixels(0, shape[1])
        seen_rows = (rows >= 0) & (rows < values.shape[0])
        seen_columns = (columns >= 0) & (columns < values.shape[1])
        found[np.ix_(seen_rows, seen_columns)] = values[np.ix_(rows[seen_rows], columns[seen_columns])]
        return found

    def _pixels(self, axis: int, count: int) -> NDArray[np.int64]:
        """The picture's pixel in the middle of each of `count` cells of the input, along x (0) or y (1)."""
        centres = (np.arange(count) + 0.5) * self.input[axis] / count
        return np.floor((centres - self.shift[axis]) / self.scale[axis]).astype(np.int64)

    def _cells(self, axis: int, count: int) -> NDArray[np.int64]:
        """The cell of a map that each pixel of the picture falls into, along x (0) or y (1)."""
        centres = (np.arange(self.picture[axis]) + 0.5) * self.scale[axis] + self.shift[axis]
        return np.floor(centres * count / self.input[axis]).astype(np.int64)
