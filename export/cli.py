"""The whole command `edgeproof`: this floor's commands beside those of the floors below.

Nothing heavy is imported here: on a device without torch the same command serves `run` and `verify`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..calibration import cli as calibration_cli
from ..calibration.cli import (
    ChannelsOption,
    MaxFloatOption,
    PreprocessOption,
    RecoverOption,
    TargetOption,
    Uint8Option,
)
from ..runtime import cli as runtime_cli
from ..runtime.command import HELP, JsonOption, emit, lowered
from ..runtime.command import main as run_application
from ..runtime.errors import InputError
from .comparison.cli import compare
from .evaluation.cli import evaluate
from .packages import require_packages
from .packaging.cli import package
from .shapes import parse_shape
from .sweep.cli import sweep

NETWORKS = "Registry or torchvision name, package.module:factory or file.py:factory"
NetworkArgument = Annotated[str, typer.Argument(metavar="MODEL", help=f"{NETWORKS}.")]
SourceArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"{NETWORKS}; timm:NAME, FILE.onnx, FILE.pt2.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help="Name of a data set, or imagefolder:DIR, coco:DIR or voc:DIR.",
        show_default="the model's own",
    ),
]
FormOption = Annotated[
    str | None,
    typer.Option(callback=lowered, help="standard or small.", show_default="that which suits the data"),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the architecture.")
]
InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="CxHxW", help="Input of your own network, such as 3x160x160."),
]
MODEL_FILES = (".onnx", ".pt2", ".py")


ExportTaskOption = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME[:LAYOUT][,KEY=VALUE]",
        help="What the answers mean: classification, segmentation, detection:LAYOUT or raw.",
        show_default="the model's own",
    ),
]


def export(  # noqa: PLR0913 - a command has as many arguments as options
    model: SourceArgument,
    weights: Annotated[
        str | None,
        typer.Option(
            help="demo, imagenet, random, factory (as it makes them), or a file.", show_default="demo"
        ),
    ] = None,
    data: DataOption = None,
    form: FormOption = None,
    options: SetOption = None,
    task: ExportTaskOption = None,
    precision: Annotated[
        str, typer.Option(callback=lowered, help="Comma-separated; fp32 is always among them.")
    ] = "fp32,fp16,int8",
    max_drop: Annotated[
        float, typer.Option(min=0, help="Points of the task's metric that INT8 may cost.")
    ] = 1.0,
    target: TargetOption = "tensorrt",
    recover: RecoverOption = "auto",
    max_float: MaxFloatOption = 0.5,
    evaluation: Annotated[
        int, typer.Option(min=2, help="Largest number of pictures on which accuracy is measured.")
    ] = 2000,
    input_shape: InputOption = None,
    preprocess: PreprocessOption = None,
    uint8_input: Uint8Option = False,
    channels: ChannelsOption = None,
    resize: Annotated[
        str,
        typer.Option(
            callback=lowered,
            help="pillow (bit for bit as in training), or device: in the graph, with --uint8-input.",
        ),
    ] = "pillow",
    source: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of the camera's frames, for --resize device.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", show_default="artifacts/MODEL")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a trained model to a proven bundle: ONNX, simplified, FP16, INT8, each compared with the first."""
    require_packages()
    from ..calibration.passes.uint8_request import uint8_request
    from ..calibration.progress import Progress
    from ..runtime.bundle.preprocess import read_preprocess
    from ..runtime.bundle.summary import summarize
    from .pipeline import ExportRequest, export_bundle

    request = ExportRequest(
        model=model,
        out=out or Path("artifacts") / _folder_name(model),
        weights=weights,
        data=data,
        variant=form,
        options=dict(_parse_option(text) for text in options or ()),
        precisions=_with_fp32(precision.split(",")),
        input_shape=parse_shape(input_shape) if input_shape else None,
        preprocess=read_preprocess(preprocess) if preprocess else None,
        task=task,
        max_drop=max_drop,
        target=target,
        recover=recover,
        max_float=max_float,
        evaluation=evaluation,
        uint8=uint8_request(uint8_input, channels, resize, source),
        force=force,
    )
    bundle = export_bundle(request, Progress())
    emit(
        bundle.manifest.to_json().rstrip()
        if as_json
        else f"{summarize(bundle.manifest)}\nbundle: {bundle.folder}"
    )


def train(  # noqa: PLR0913 - a command has as many arguments as options
    model: NetworkArgument,
    data: DataOption = None,
    form: FormOption = None,
    options: SetOption = None,
    input_shape: InputOption = None,
    samples: Annotated[
        int | None, typer.Option(min=2, help="Train on at most this many, by seed.", show_default="all")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the samples.", show_default="the model's own")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Samples a step.", show_default="the model's own")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate.", show_default="the model's own")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of weights, order and shifts.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="artifacts/training/MODEL-DATA")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew instead of going on from what is there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a network by its recipe: weights, history.json and curves.png; continues after an interrupt."""
    require_packages("matplotlib")
    from ..calibration.progress import Progress
    from ..runtime.records import encode
    from .training.folder import WEIGHTS
    from .training.run import TrainRequest, train_model

    changes = {"epochs": epochs, "batch": batch, "rate": rate, "seed": seed}
    request = TrainRequest(
        model=model,
        data=data,
        variant=form,
        options=dict(_parse_option(text) for text in options or ()),
        input_shape=parse_shape(input_shape) if input_shape else None,
        samples=samples,
        recipe={name: value for name, value in changes.items() if value is not None},
        out=out,
        fresh=fresh,
    )
    training = train_model(request, Progress())
    if as_json:
        emit(json.dumps({"folder": str(training.folder), **encode(training.history)}, indent=2))
        return
    command = ["edgeproof", "export", model, "--weights", str(training.folder / WEIGHTS)]
    for option, value in (("--data", data), ("--form", form), ("--input", input_shape)):
        command += [option, value] if value else []
    for text in options or ():
        command += ["--set", text]
    emit(f"{training.summary()}\nfolder: {training.folder}\nto export: {shlex.join(command)}")


def models(as_json: JsonOption = False) -> None:
    """List the models that `export` knows by name."""
    require_packages()
    from .sources import table

    emit(json.dumps(table.as_data(), indent=2) if as_json else table.as_text())


def report(
    bundle: Annotated[Path, typer.Argument(help="Folder that `edgeproof export` wrote.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", show_default="BUNDLE.html beside the bundle")
    ] = None,
) -> None:
    """Write a bundle's proof as one page of HTML: verdict, errors, layers, ranges, pictures, lineage.

    Every export holds this page as report.html. The bundle itself is never changed.
    """
    require_packages("jinja2", "matplotlib")
    from ..runtime.bundle.bundle import Bundle
    from .report.render import write

    opened = Bundle.open(bundle)
    place = out or bundle.resolve().with_name(f"{bundle.resolve().name}.html")
    if place.resolve().parent == bundle.resolve():
        raise InputError("A bundle is never changed.", todo="name a file outside of it: --out FILE.html")
    write(opened, place)
    emit(f"report: {place}")


def build_app() -> typer.Typer:
    """The application with the commands of all floors."""
    app = typer.Typer(
        name="edgeproof",
        no_args_is_help=True,
        context_settings=HELP,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for command in (export, train, models, report, evaluate, compare, package, sweep):
        app.command()(command)
    calibration_cli.register(app)
    runtime_cli.register(app)
    return app


def main() -> None:
    """Entry point of the command `edgeproof`."""
    run_application(build_app())


def _with_fp32(words: Sequence[str]) -> tuple[str, ...]:
    """The precisions as typed, behind fp32, with which the others are compared."""
    return tuple(dict.fromkeys(("fp32", *(word.strip() for word in words))))


def _folder_name(model: str) -> str:
    path = Path(model.rpartition(":")[2])
    return path.stem if path.suffix.lower() in MODEL_FILES else path.name


def _parse_option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise InputError(f"--set {text} sets nothing.", wanted="NAME=VALUE, such as width=0.5")
    return name, value
