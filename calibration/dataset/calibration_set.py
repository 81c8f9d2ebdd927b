"""The inputs that calibrate: read in pieces, counted, hashed, and refused where they cannot be trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.manifest import TensorSpec
from ...runtime.bundle.shapes import require_fit
from ...runtime.errors import DataError
from .tensor_file import open_tensor

# P(the next input exceeds the maximum of n) = 1 / (n + 1), if their order tells nothing: 6 % at 16.
MIN_INPUTS = 16
HELD_BACK = 0.25  # share of the inputs that judges what is made with the others
CHUNK = 16
NOISE = 0.05  # neighbours in white noise correlate by 0, in the smallest and roughest pictures by 0.3
SHORTEST_SIDE = 8  # a shorter axis may hold channels, whose neighbours need not be alike

Read = Callable[[NDArray[np.int64]], NDArray[Any]]


@dataclass(frozen=True)
class CalibrationSet:
    """Inputs of a model that have passed inspection.

    Attributes:
        read: gives the inputs at some positions as one array, shape (N, ...), of the model's dtype.
        count: number of inputs.
        sha256: SHA-256 of all their values in order, as 64 hexadecimal digits.
    """

    read: Read
    count: int
    sha256: str

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[NDArray[Any]]:
        """The inputs in order, `size` at a time, the rest last; one batch is in memory at a time."""
        for start in range(0, self.count, size):
            yield self.read(np.arange(start, min(start + size, self.count)))

    def full_batches(self, size: int) -> Iterator[NDArray[Any]]:
        """The same for a model of fixed batch: the last batch is filled up with the first inputs."""
        for start in range(0, self.count, size):
            yield self.read(np.arange(start, start + size) % self.count)

    def sample(self, most: int, seed: int = 0) -> NDArray[Any]:
        """At most so many different inputs, chosen by seed, in the set's order, as one array."""
        chosen = np.random.default_rng(seed).permutation(self.count)[:most]
        return self.read(np.sort(chosen))

    def hold_back(self) -> tuple[CalibrationSet, CalibrationSet]:
        """A quarter of the inputs, drawn by seed, to judge with, and the others; one input alone is both."""
        return self.split(HELD_BACK) if self.count > 1 else (self, self)

    def held_back(self) -> NDArray[np.int64]:
        """The positions of those that `hold_back` gives to judge with."""
        return self._drawn(HELD_BACK)[0] if self.count > 1 else np.arange(self.count)

    def split(self, share: float, seed: int = 0) -> tuple[CalibrationSet, CalibrationSet]:
        """Two sets, drawn by seed: about this share of the inputs, and the others; neither is empty.

        Args:
            share: between 0 and 1.
            seed: of the draw.
        """
        first, others = self._drawn(share, seed)
        return self._part(first), self._part(others)

    def _drawn(self, share: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        count = min(max(1, round(share * self.count)), self.count - 1)
        drawn = np.random.default_rng(seed).permutation(self.count)
        return np.sort(drawn[:count]), np.sort(drawn[count:])

    def _part(self, chosen: NDArray[np.int64]) -> CalibrationSet:
        def read(positions: NDArray[np.int64]) -> NDArray[Any]:
            return self.read(chosen[positions])

        digest = hashlib.sha256()
        for start in range(0, len(chosen), CHUNK):
            digest.update(np.ascontiguousarray(self.read(chosen[start : start + CHUNK])).data)
        return CalibrationSet(read, len(chosen), digest.hexdigest())


def read_calibration(path: Path, wanted: TensorSpec) -> CalibrationSet:
    """Preprocessed inputs from a .npy or .npz file, which is never in memory whole.

    Args:
        path: a .npz with one array, or one named like the model's input or "input"; or a .npy.
        wanted: the model's input. The file's first axis counts the inputs, whatever batch the model takes.

    Raises:
        DataError: the file is absent, damaged or holds no such array, or `inspect` refuses its values.
    """
    rows = open_tensor(path, (wanted.name, "input"))
    return inspect(rows, len(rows), wanted, str(path))


def inspect(read: Read, count: int, wanted: TensorSpec, source: str) -> CalibrationSet:
    """Look at every input once, and count and hash what can be trusted.

    Args:
        read: gives the inputs at some positions, from 0 to `count` - 1.
        count: number of inputs.
        wanted: the model's input.
        source: what the inputs are, for messages.

    Raises:
        DataError: there are no inputs; their shape or dtype is not the model's; there is NaN or Inf among
            them; fewer than 16 differ from each other and hold more than one value; or they are white noise.
    """
    if not count:
        raise DataError(f"{source} holds no inputs to calibrate with.", wanted=f"at least {MIN_INPUTS}")
    digest, seen, constant = hashlib.sha256(), set[bytes](), 0
    for start in range(0, count, CHUNK):
        inputs = np.ascontiguousarray(read(np.arange(start, min(start + CHUNK, count))))
        message = f"{source} does not hold inputs of the model."
        todo = "preprocess the inputs as the model expects them"
        require_fit(inputs, (None, *wanted.shape[1:]), wanted.dtype, DataError, message, todo)
        _check_finite(inputs, start, source)
        if start == 0:
            _check_not_noise(inputs, source)
        digest.update(inputs.data)
        for sample in inputs:
            if sample.min() == sample.max():
                constant += 1
            else:
                seen.add(hashlib.blake2b(sample.data, digest_size=16).digest())
    if len(seen) < MIN_INPUTS:
        raise DataError(
            f"{source} is too little to calibrate with: ranges would miss what other inputs do.",
            wanted=f"at least {MIN_INPUTS} different inputs; a hundred or more are better",
            got=f"{count} inputs, of which {constant} hold one value only and {count - constant - len(seen)} "
            "repeat another",
            todo="give more of the inputs that the model will see",
        )
    return CalibrationSet(read, count, digest.hexdigest())


def _check_finite(inputs: NDArray[Any], start: int, source: str) -> None:
    finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{source} holds NaN or Inf, first in input {start + int(np.argmin(finite))}.",
            todo="look at the inputs' preprocessing",
        )


def _check_not_noise(inputs: NDArray[Any], source: str) -> None:
    """Refuse random numbers: the model never sees such inputs, so their ranges say nothing.

    Of pictures, which have two long axes or more, neighbours along one of them are alike; of white noise
    along none. Inputs of fewer long axes may be features in any order and are taken as they are.
    """
    long = [axis for axis in range(1, inputs.ndim) if inputs.shape[axis] >= SHORTEST_SIDE]
    if len(long) < 2:
        return
    values = inputs.astype(np.float64)
    values -= values.mean(axis=tuple(long), keepdims=True)
    power = np.mean(values**2)
    if power > 0 and all(abs(_neighbours(values, axis)) < NOISE * power for axis in long):
        raise DataError(
            f"{source} holds random numbers: neighbouring values have nothing in common.",
            wanted="inputs like those that the model will see",
            todo="calibrate with real pictures; ranges from noise do not fit them",
        )


def _neighbours(values: NDArray[np.float64], axis: int) -> float:
    """Mean product of each value and the next one along an axis."""
    lines = np.moveaxis(values, axis, 0)
    return float(np.mean(lines[1:] * lines[:-1]))
