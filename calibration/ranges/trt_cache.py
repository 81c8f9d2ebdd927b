"""Ranges from a calibration cache that TensorRT wrote.

A cache is text: a line such as `TRT-8601-EntropyCalibration2`, then for each tensor its name, a colon and the
eight hexadecimal digits of its scale, a big-endian float32. TensorRT's int8 reaches from -127 to 127 scales.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection
from pathlib import Path

from ...runtime.errors import DataError, gist
from .integer_format import ACTIVATION_INT8
from .statistics import Range

HEADER = re.compile(r"TRT-\d+-\w+")
ENTRY = re.compile(r"(?P<name>.+): *(?P<scale>[0-9a-fA-F]{8})")
LISTED = 5


def read_calibration_cache(path: Path, wanted: Collection[str]) -> dict[str, Range]:
    """The symmetric range of each wanted value; what the cache says of others is left out.

    Args:
        path: the cache.
        wanted: names of the values that need a range, `sites.activations` for example.

    Raises:
        DataError: the file is absent or damaged, a scale is not a positive finite number, or a wanted value
            has none, as in a cache of another model.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The calibration cache {path} cannot be read.", got=gist(error)) from error
    if not lines or not HEADER.fullmatch(lines[0].strip()):
        raise DataError(
            f"{path} is not a TensorRT calibration cache.",
            wanted="a first line such as TRT-8601-EntropyCalibration2",
            got=repr(lines[0][:60]) if lines else "an empty file",
        )
    scales = _scales(path, lines)
    missing = [name for name in wanted if name not in scales]
    if missing:
        raise DataError(
            f"The calibration cache {path} does not match the model: {len(missing)} of {len(wanted)} values "
            "have no scale.",
            wanted=_listed(missing),
            available=_listed(scales),
            todo="give the cache of this very model, or calibrate with pictures",
        )
    return {name: _range(scales[name]) for name in wanted}


def _range(scale: float) -> Range:
    reach = ACTIVATION_INT8.highest * scale
    return Range(-reach, reach)


def _scales(path: Path, lines: list[str]) -> dict[str, float]:
    scales: dict[str, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        entry = ENTRY.fullmatch(line.strip())
        if entry is None:
            raise _damaged(path, number, repr(line[:60]), "a name, a colon and 8 hexadecimal digits")
        name, digits = entry["name"], entry["scale"]
        (scale,) = struct.unpack(">f", bytes.fromhex(digits))
        if not math.isfinite(scale) or scale <= 0:
            raise _damaged(path, number, f"{scale:g} for {name}", "a scale that is positive and finite")
        if scales.setdefault(name, scale) != scale:
            raise _damaged(path, number, f"a second scale for {name}", "one scale a tensor")
    return scales


def _damaged(path: Path, line: int, got: str, wanted: str) -> DataError:
    return DataError(
        f"Line {line} of the calibration cache {path} cannot be used.",
        wanted=wanted,
        got=got,
        todo="write the cache again, or calibrate with pictures",
    )


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:LISTED])
    return f"{shown} and {len(names) - LISTED} more" if len(names) > LISTED else shown or "none"
