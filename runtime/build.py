"""Compile a bundle for this machine ahead of its first use."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from .bundle import Bundle
from .errors import InputError
from .opening import export_context
from .providers import ProviderRequest
from .session import Session, load_onnxruntime


@dataclass(frozen=True)
class Build:
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


def build(bundle: Bundle, precision: str, request: ProviderRequest, context: Path | None = None) -> Build:
    """Compile one precision with TensorRT and keep the engine where `Session` finds it.

    Args:
        bundle: the bundle.
        precision: fp32, fp16 or int8.
        request: how it will be run; an engine serves only the same request.
        context: also write the model with its engine to this ONNX file, which any ONNX Runtime with the
            same TensorRT loads on the same kind of device.

    Raises:
        InputError: the provider compiles nothing ahead, or the bundle does not hold that precision.
        PlacementError: TensorRT cannot be used here, or leaves nodes to another provider.
        OutputError: the engine or the file cannot be written.
    """
    if request.provider != "tensorrt":
        raise InputError(
            f"The provider {request.provider} compiles nothing ahead.",
            available="tensorrt",
            todo="add --provider tensorrt, or run the bundle as it is",
        )
    model = bundle.model_bytes(precision)
    request = replace(request, precision=precision)
    start = time.perf_counter()
    with Session(model, provider=request) as session:
        engine, placement = session.engine, session.placement
    seconds = round(time.perf_counter() - start, 3)
    if engine is None:
        raise InputError(
            f"TensorRT cannot be used here, and {placement.provider} compiles nothing ahead.",
            got="; ".join(placement.refused),
            todo="edgeproof doctor",
        )
    if context:
        export_context(load_onnxruntime(), model, request, context)
    return Build(
        precision,
        str(engine.folder),
        engine.built,
        seconds,
        placement.label,
        str(context) if context else None,
    )
