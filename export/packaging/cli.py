"""The command `edgeproof package`. It needs neither torch nor onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...runtime.command import emit, lowered
from ...runtime.options import BundleArgument


def package(
    bundle: BundleArgument,
    triton: Annotated[
        Path, typer.Option(metavar="DIR", help="Model repository of Triton, in which its folder is made.")
    ],
    precision: Annotated[
        str | None,
        typer.Option(
            callback=lowered, help="fp32, fp16 or int8.", show_default="the one that the verdict ships"
        ),
    ] = None,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="Most requests that are answered as one batch.")
    ] = 8,
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there already.")] = False,
) -> None:
    """Write a bundle as a model of NVIDIA's Triton Inference Server, with TensorRT, batching and warm-up."""
    from ...runtime.bundle.bundle import Bundle
    from .triton import TritonRequest, write_repository

    folder = write_repository(Bundle.open(bundle), TritonRequest(triton, precision, max_batch, force))
    emit(f"model: {folder}\nto serve: tritonserver --model-repository {triton.resolve()}")
