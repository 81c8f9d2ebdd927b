"""The command `edgeproof evaluate`. What is heavy is imported inside it: a device has this file too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...runtime.command import JsonOption, emit, lowered
from ...runtime.options import BundleArgument, DeviceOption, FallbackOption, ProviderOption
from ..packages import require_packages


def evaluate(
    bundle: BundleArgument,
    data: Annotated[
        str | None,
        typer.Option(
            help="Name of a data set, or imagefolder:DIR, coco:DIR or voc:DIR. Of a folder, the pictures in "
            "val are taken, else those that an export does not calibrate with.",
            show_default="that of the export",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            callback=lowered,
            help="Comma-separated; the first is what the others are compared with.",
            show_default="every one that can run",
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="At most this many, drawn by seed.", show_default="all")
    ] = None,
    provider: ProviderOption = "auto",
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw confusions or curves, and calibration.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on labelled data: the task's metric, by class, and its precisions compared in pairs.

    The same command goes on where it was interrupted.
    """
    require_packages("matplotlib")
    from ...calibration.progress import Progress
    from ...runtime.bench.report import ensure_can_plot
    from ...runtime.providers.request import ProviderRequest
    from ...runtime.records import encode
    from .evaluate import EvaluateRequest, evaluate_bundle
    from .show import plot as draw
    from .show import text

    if plot:
        ensure_can_plot(plot)
    request = EvaluateRequest(
        bundle=bundle,
        data=data,
        precisions=tuple(word.strip() for word in precision.split(",")) if precision else (),
        provider=ProviderRequest(provider, allow_fallback=allow_fallback, device=device),
        samples=samples,
    )
    report = evaluate_bundle(request, Progress())
    emit(json.dumps(encode(report), indent=2, allow_nan=False) if as_json else text(report))
    if plot:
        draw(report, plot)
