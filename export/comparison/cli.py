"""The command `edgeproof compare`. What is heavy is imported inside it: a device has this file too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...calibration.cli import PreprocessOption, TaskOption
from ...runtime.command import EXIT_PROOF_FAILED, JsonOption, emit
from ...runtime.errors import InputError


def compare(  # noqa: PLR0913 - a command has as many arguments as options
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL [MODEL]",
            help="BUNDLE:PRECISION, FILE.onnx, either with @PROVIDER behind it, or a network as `export` "
            "takes it. The first is the reference.",
        ),
    ],
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|images:DIR",
            help="What both are given: preprocessed inputs (.npz, .npy), or pictures.",
            show_default="samples of --data, else the bundle's golden inputs",
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Name of a data set, or imagefolder:DIR, coco:DIR or voc:DIR.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of a network, as for `export`.", show_default="demo")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="Input of a network.")
    ] = None,
    preprocess: PreprocessOption = None,
    task: TaskOption = None,
    samples: Annotated[int, typer.Option(min=1, help="At most this many inputs.")] = 32,
    save: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Keep the answers of one MODEL, for --load elsewhere."),
    ] = None,
    load: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Compare with what --save kept: the reference.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw the error by depth.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two forms of a model on the same inputs: every output, then layer by layer.

    The exit status is 1 where the answers differ by more than the coarser precision explains.
    """
    from ...runtime.bench.report import ensure_can_plot
    from ...runtime.bundle.preprocess import read_preprocess
    from ...runtime.records import encode
    from ...runtime.tasks.registry import parse_task
    from ..shapes import parse_shape
    from . import saved
    from .open_forms import CompareRequest, Opened, compare_opened, inputs_of, open_form
    from .show import plot as draw
    from .show import text

    _require_pair(models, save, load)
    if plot:
        ensure_can_plot(plot)
    request = CompareRequest(
        models=tuple(models),
        weights=weights,
        data=data,
        input_shape=parse_shape(input_shape) if input_shape else None,
        inputs=inputs,
        preprocess=read_preprocess(preprocess) if preprocess else None,
        samples=samples,
    )
    opened = [Opened(saved.load(load))] if load else []
    opened += [open_form(model, request) for model in models]
    if save:
        saved.save(opened[0].form, inputs_of(opened, request), save)
        emit(f"saved: {save}")
        return
    found = compare_opened(opened, request, parse_task(task) if task else None)
    shown = {"same": bool(found), **encode(found)} if as_json else {}
    emit(json.dumps(shown, indent=2, allow_nan=False) if as_json else text(found))
    if plot and found.layers:
        draw(found, plot)
    if not found:
        raise typer.Exit(EXIT_PROOF_FAILED)


def _require_pair(models: list[str], save: Path | None, load: Path | None) -> None:
    if save and load:
        raise InputError("--save and --load exclude each other.", todo="leave one of them out")
    wanted = 1 if save or load else 2
    if len(models) != wanted:
        raise InputError(
            f"{len(models)} models are named.",
            wanted="one model with --save or --load, else two",
            got=" ".join(models),
            todo="edgeproof compare BUNDLE:fp32 BUNDLE:int8",
        )
