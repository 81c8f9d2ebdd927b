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
    return json.dumps(encode(result), allow_nan=False)


def csv_header(classes: int) -> str:
    """Names of the columns of `csv_line`."""
    scores = [
        f"{name}_{rank}" for rank in range(1, classes + 1) for name in ("index", "label", "probability")
    ]
    return _row(["source", "frame", "time", "latency_ms", "provider", "fallback", *scores, "error"])


def csv_line(result: Prediction | BadFrame, classes: int) -> str:
    """One row, quoted as RFC 4180 says; of a bad frame the columns of an answer are empty.

    Args:
        result: of one frame.
        classes: how many classes every answer has.
    """
    where = [result.source, result.frame, result.time]
    if isinstance(result, BadFrame):
        return _row([*where, "", "", "", *[""] * 3 * classes, result.error])
    scores = [value for score in result.top for value in (score.index, score.label, score.probability)]
    fallback = str(result.fallback).lower()
    return _row([*where, result.latency_ms, result.provider, fallback, *scores, ""])


def _row(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(values)  # its own line end makes it quote those within a value
    return stream.getvalue().removesuffix("\r\n")
