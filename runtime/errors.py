"""Everything edgeproof raises on purpose, in one tree.

EdgeproofError
├── InputError            exit 2: what was asked for, or given, cannot be used
│   ├── BundleError         a bundle is incomplete, changed, hostile or too new
│   ├── ModelError          an unknown architecture, or a model that cannot be used as asked
│   ├── WeightsError        weights that cannot be read or do not fit
│   ├── TaskError           a task that the model's outputs, or the labels, do not fit
│   ├── DataError           a data set that is absent, damaged or of the wrong kind
│   ├── FrameError          one frame of a source; the others go on
│   │   ├── ImageError        a picture that cannot be read faithfully
│   │   └── TensorError       a tensor that is damaged, holds NaN or Inf, or does not fit the model
│   ├── OutputError         a place that cannot be written
│   └── MissingDependency   an optional package that is not installed, or cannot be loaded
└── ProofError            exit 1: a step was carried out and its proof failed
    ├── ExportError         PyTorch's exporter could not express the model
    ├── ParityError         two forms of the model give different answers
    ├── AccuracyError       a lower precision costs more accuracy than it may
    └── PlacementError      the requested provider is not the one that runs the model
        └── PrecisionError    the provider would run it, and compute this precision wrongly
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMES = 10  # in a message


class EdgeproofError(Exception):
    """An error made for the person who typed the command.

    Args:
        message: one sentence that says what went wrong.
        wanted: what was asked for or expected.
        got: what was found instead.
        available: what could be had.
        todo: what to type or do next.
    """

    exit_status = 2

    def __init__(
        self, message: str, *, wanted: str = "", got: str = "", available: str = "", todo: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = {"wanted": wanted, "got": got, "available": available, "to do": todo}

    def __str__(self) -> str:
        lines = [self.message]
        for title, text in self.details.items():
            if text:
                lines.append(f"  {title + ':':<10} " + text.replace("\n", "\n" + " " * 13))
        return "\n".join(lines)


def gist(error: BaseException) -> str:
    """Kind and first line of the innermost cause: third parties wrap it in pages."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"


def first_names(names: Sequence[str]) -> str:
    """The first names of a long list, and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


class InputError(EdgeproofError):
    """The request, or something given with it, cannot be used."""


class BundleError(InputError):
    """A bundle is missing, incomplete, changed, hostile or of a newer schema."""


class ModelError(InputError):
    """An architecture is unknown, or a model cannot be used as asked."""


class WeightsError(InputError):
    """Weights cannot be read safely, or do not fit the model."""


class TaskError(InputError):
    """The task is unknown, or the model's outputs or the labels do not fit it."""


class DataError(InputError):
    """A data set is absent, damaged, or does not fit the model."""


class FrameError(InputError):
    """One frame of a source cannot be used; the others can."""


class ImageError(FrameError):
    """One picture cannot be read, or not without changing what it shows."""


class TensorError(FrameError):
    """A tensor is damaged, holds NaN or Inf, or is no input of the model."""


class OutputError(InputError):
    """The output cannot be written."""


class MissingDependency(InputError):
    """An optional package is not installed, or cannot be loaded.

    Args:
        package: what is missing.
        extra: the extra of edgeproof that brings it.
        purpose: what needs it, as the start of a sentence.
        got: why it cannot be loaded; empty when it is not installed.
        todo: what to type where the extra is not the way to it.
    """

    def __init__(self, package: str, extra: str, purpose: str, *, got: str = "", todo: str = "") -> None:
        super().__init__(
            f"{purpose} needs {package}, which {'cannot be loaded' if got else 'is not installed'}.",
            got=got,
            todo=todo or f'pip install "edgeproof[{extra}]"',
        )


class ProofError(EdgeproofError):
    """A step was carried out, and its proof failed."""

    exit_status = 1


class ExportError(ProofError):
    """PyTorch's exporter could not express the model as ONNX."""


class ParityError(ProofError):
    """Two forms of the same model give different answers."""


class AccuracyError(ProofError):
    """A lower precision costs more accuracy than it may."""


class PlacementError(ProofError):
    """The requested provider cannot be used here, or leaves nodes to another."""


class PrecisionError(PlacementError):
    """The provider would run the model, and compute its precision wrongly."""
