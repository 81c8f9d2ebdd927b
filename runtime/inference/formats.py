"""Results as lines of text: JSON objects, or rows of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable

from ..records import encode
from .results import BadFrame, Prediction


def json_line(result: Prediction | BadFrame) -> str:
    """One JSON object, without NaN or Infinity."""
    plain = encode(result) if isinstance(result, BadFrame) else result.as_dict()
    return json.dumps(plain, allow_nan=False)


def csv_header(classes: int) -> str:
    """Names of the columns of `csv_line`."""
    answer = [
        f"{name}_{rank}" for rank in range(1, classes + 1) for name in ("index", "label", "probability")
    ] or ["answer"]
    return _row(["source", "frame", "time", "latency_ms", "provider", "fallback", *answer, "error"])


def csv_line(result: Prediction | BadFrame, classes: int) -> str:
    """One row, quoted as RFC 4180 says; of a bad frame the columns of an answer are empty.

    Args:
        result: of one frame.
        classes: how many classes every answer has; 0 where it has none, and is JSON in one column.
    """
    where = [result.source, result.frame, result.time]
    if isinstance(result, BadFrame):
        return _row([*where, "", "", "", *[""] * (3 * classes or 1), result.error])
    scores = [value for score in result.top for value in (score.index, score.label, score.probability)]
    answer = scores if classes else [json.dumps(result.row, allow_nan=False)]
    fallback = str(result.fallback).lower()
    return _row([*where, result.latency_ms, result.provider, fallback, *answer, ""])


def _row(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(values)  # its own line end makes it quote those within a value
    return stream.getvalue().removesuffix("\r\n")
