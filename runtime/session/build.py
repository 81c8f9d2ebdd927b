"""Compile a bundle for this machine ahead of its first use."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..bundle.bundle import Bundle
from ..errors import InputError
from ..providers.registry import names_of
from ..providers.request import ProviderRequest
from .builder import export_context
from .selection import open_session
from .session import load_onnxruntime


@dataclass(frozen=True)
class BuildResult:
    """A compiled engine.

    Attributes:
        precision: of the model.
        folder: where the engine is kept.
        built: whether it was compiled now; False when it was there already.
        seconds: until the model could run.
        placement: which providers run nodes, such as tensorrt.
        context: file that holds the model with its engine; None when none was asked for.
    """

    precision: str
    folder: str
    built: bool
    seconds: float
    placement: str
    context: str | None = None


def build(bundle: Bundle, request: ProviderRequest, context: Path | None = None) -> BuildResult:
    """Compile one precision and keep the engine where `Session` finds it.

    Args:
        bundle: the bundle.
        request: how it will be run; an engine serves only the same request. Without a precision it is the
            one in which the provider runs the bundle.
        context: also write the model with its engine to this ONNX file, which any ONNX Runtime with the
            same TensorRT loads on the same kind of device; None for no such file.

    Raises:
        InputError: the provider compiles nothing ahead, or the bundle does not hold that precision.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
        OutputError: the engine or the file cannot be written.
    """
    compiling = names_of(lambda provider: provider.compiles)
    able = " or ".join(compiling)
    if request.provider not in compiling:
        raise InputError(
            f"The provider {request.provider} compiles nothing ahead.",
            available=able,
            todo=f"add --provider {able}, or run the bundle as it is",
        )
    start = time.perf_counter()
    with open_session(bundle, request) as session:
        engine, placement, precision = session.engine, session.placement, session.precision
    seconds = round(time.perf_counter() - start, 3)
    if engine is None:
        raise InputError(
            f"The provider {able} cannot be used here, and {placement.provider} compiles nothing ahead.",
            got="; ".join(placement.refused),
            todo="edgeproof doctor",
        )
    if context:
        request = replace(request, precision=precision)
        export_context(load_onnxruntime(), bundle.model_bytes(precision), request, context)
    return BuildResult(
        precision,
        str(engine.folder),
        engine.built,
        seconds,
        placement.label,
        str(context) if context else None,
    )
