"""The middle floor's commands.

What is heavy is imported inside them: a device has this file too, but neither onnx nor a compiler.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..runtime.command import EXIT_PROOF_FAILED, JsonOption, emit, lowered
from ..runtime.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from .dataset.load import InputShape
    from .preflight.check import PreflightResult
    from .preflight.handed_over import HandedOver

ModelOrBundle = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.onnx|BUNDLE", help="An ONNX file, or a folder that `edgeproof export` wrote."
    ),
]

CalibrationOption = Annotated[
    str, typer.Option(metavar="FILE|images:DIR", help="Preprocessed inputs (.npz, .npy), or pictures.")
]
PreprocessOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Your training's preprocessing, as in a manifest."),
]
TargetOption = Annotated[
    str,
    typer.Option(
        callback=lowered,
        help="tensorrt (float16 where INT8 is not), tensorrt-fp32 (float32 there), or cpu: what runs "
        "fastest on ONNX Runtime's CPU provider.",
    ),
]
SidesOption = Annotated[
    str | None,
    typer.Option(
        "--input",
        metavar="CxHxW",
        help="Sides of a sample, where the file leaves them open or states others.",
        show_default="the file's",
    ),
]
BatchOption = Annotated[
    str | None,
    typer.Option(metavar="N|any", help="Batch of the model.", show_default="the file's"),
]
TaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[:LAYOUT][,KEY=VALUE]",
        help="What the answers mean: classification, segmentation, detection:LAYOUT or raw.",
        show_default="the bundle's own, or what the outputs suggest",
    ),
]
RecoverOption = Annotated[
    str,
    typer.Option(callback=lowered, help="Recover accuracy lost to INT8: auto (where that helps), or off."),
]
MaxFloatOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Share of the layers that may stay float to hold the budget."
    ),
]

Uint8Option = Annotated[
    bool,
    typer.Option(
        "--uint8-input", help="Take pixels, N x H x W x C: the model normalizes them in its own graph."
    ),
]
ChannelsOption = Annotated[
    str | None,
    typer.Option(
        callback=lowered,
        help="rgb or bgr: the order of the pixels' channels, with --uint8-input.",
        show_default="the training's",
    ),
]


def preflight(
    model: ModelOrBundle,
    capability: Annotated[
        list[str] | None,
        typer.Option(metavar="SM", help="CUDA compute capability, such as 86 or 120.", show_default="86"),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="MIN,OPT,MAX", help="Batch sizes.", show_default="1,8,32, or the model's own"),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input", metavar="CxHxW", help="Sides of a sample, where the model leaves them open."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(callback=lowered, help="Of a bundle: fp32, fp16 or int8.", show_default="all"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Parse and build a model with NVIDIA's TensorRT compiler, on a machine with no GPU.

    A refusal names the node, why, and what to do; the exit status is then 1.
    """
    _require_onnx("Pre-flight")
    from .preflight.check import ORIN_KIN, PreflightRequest
    from .preflight.check import preflight as check
    from .preflight.handed_over import preflight_handed_over

    request = PreflightRequest(
        tuple(dict.fromkeys(capability or [ORIN_KIN])),
        _three(batch) if batch else None,
        _numbers(input_shape, "x", "--input", "CxHxW, such as 3x224x224") if input_shape else None,
    )
    results: dict[str, PreflightResult] = {}
    handed: dict[str, HandedOver] = {}
    for name, data in _models(model, precision):
        results[name] = check(data, request)
        if results[name]:
            handed[name] = preflight_handed_over(data, results[name], request)
    if as_json:
        emit(json.dumps({n: _describe(result, handed.get(n)) for n, result in results.items()}, indent=2))
    else:
        emit("\n".join(_report(name, result, handed.get(name)) for name, result in results.items()))
    if not all(results.values()) or not all(handed.values()):
        raise typer.Exit(EXIT_PROOF_FAILED)


def quantize(  # noqa: PLR0913 - a command has as many arguments as options
    model: ModelOrBundle,
    calibration: CalibrationOption,
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="Where the INT8 model goes.")],
    preprocess: PreprocessOption = None,
    task: TaskOption = None,
    input_shape: SidesOption = None,
    batch: BatchOption = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|images:DIR",
            help="Inputs that judge the result.",
            show_default="a quarter of --calibration, held back by seed",
        ),
    ] = None,
    scales: Annotated[
        Path | None,
        typer.Option(metavar="CACHE", help="A TensorRT calibration cache, to take its scales as they are."),
    ] = None,
    target: TargetOption = "tensorrt",
    max_drop: Annotated[
        float, typer.Option(min=0, help="Percent of its answers that INT8 may change.")
    ] = 2.5,
    recover: RecoverOption = "auto",
    max_float: MaxFloatOption = 0.5,
    uint8_input: Uint8Option = False,
    channels: ChannelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize any ONNX model to INT8, and prove that it keeps its answers."""
    _require_onnx("Quantization")
    from ..runtime.bundle.preprocess import read_preprocess
    from .passes.uint8_request import uint8_request
    from .progress import Progress
    from .quantization import QuantizeRequest, describe, summarize
    from .quantization import quantize as carry_out
    from .targets.base import Int8Request, as_recover

    request = QuantizeRequest(
        model,
        calibration,
        out,
        Int8Request(max_drop, as_recover(recover), max_float),
        target,
        read_preprocess(preprocess) if preprocess else None,
        task,
        _shape(input_shape, batch),
        judge,
        scales,
        uint8_request(uint8_input, channels),
    )
    result = carry_out(request, Progress())
    emit(json.dumps(describe(result), indent=2) if as_json else f"{summarize(result)}\nmodel: {out}")


def sensitivity(
    model: ModelOrBundle,
    calibration: CalibrationOption,
    preprocess: PreprocessOption = None,
    task: TaskOption = None,
    input_shape: SidesOption = None,
    batch: BatchOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what INT8 does to the answers, layer by layer: each one's error when it alone is rounded.

    The share is that of the sum of all squared errors.
    """
    _require_onnx("Sensitivity")
    from ..runtime.bundle.preprocess import read_preprocess
    from ..runtime.tasks.registry import parse_task
    from .dataset.load import read_inputs
    from .progress import Progress
    from .sensitivity import describe, rank, summarize

    progress = Progress()
    prepared = read_preprocess(preprocess) if preprocess else None
    known = parse_task(task) if task else None
    inputs = read_inputs(model, calibration, prepared, progress, task=known, shape=_shape(input_shape, batch))
    ranked = rank(inputs, progress)
    emit(json.dumps(describe(ranked), indent=2) if as_json else summarize(ranked))


def register(app: typer.Typer) -> None:
    """Add this floor's commands to an application."""
    for command in (quantize, sensitivity, preflight):
        app.command()(command)


def _models(path: Path, precision: str | None) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of the ONNX file, or of the bundle's models."""
    if path.is_dir():
        from ..runtime.bundle.bundle import Bundle

        bundle = Bundle.open(path)
        for name in [precision] if precision else bundle.manifest.models:
            yield name, bundle.model_bytes(name)
        return
    if precision:
        raise InputError(
            f"{path} is one model, of which no precision can be chosen.", todo="leave --precision out"
        )
    from .onnx_graph.read import read_onnx

    yield path.name, read_onnx(path).SerializeToString()


def _report(name: str, result: PreflightResult, handed: HandedOver | None) -> str:
    lines = [f"{name}: {'accepted' if result else 'REFUSED'} by {result.compiler} in {result.seconds:.1f} s"]
    if result:
        lines.append(f"  {result}")
    for refusal in result.refusals[:10]:
        lines += [f"  {refusal}", f"    to do: {refusal.advice}"]
    if len(result.refusals) > 10:
        lines.append(f"  and {len(result.refusals) - 10} more (--json lists them)")
    if handed is not None:
        lines.append(f"  {handed}")
    return "\n".join([*lines, *(f"  remark: {text}" for text in result.warnings)])


def _describe(result: PreflightResult, handed: HandedOver | None) -> dict[str, object]:
    from ..runtime.records import encode

    found = {"accepted": bool(result), **encode(result)}
    return found if handed is None else {**found, "handed_over": {"accepted": bool(handed), **encode(handed)}}


def _three(text: str) -> tuple[int, int, int]:
    wanted = "three sizes: smallest, usual, largest"
    sizes = _numbers(text, ",", "--batch", wanted)
    if len(sizes) != 3:
        raise InputError(f"--batch {text} is not a batch profile.", wanted=wanted, todo="--batch 1,8,32")
    return sizes[0], sizes[1], sizes[2]


def _numbers(text: str, separator: str, option: str, wanted: str) -> tuple[int, ...]:
    parts = text.lower().split(separator)
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"{option} {text} cannot be read.", wanted=wanted)
    return tuple(map(int, parts))


def _shape(sides: str | None, batch: str | None) -> InputShape:
    from .dataset.load import InputShape

    wanted = "a number from 1, or any"
    return InputShape(
        _numbers(sides, "x", "--input", "CxHxW, such as 3x224x224") if sides else None,
        None if batch is None else 0 if batch == "any" else _numbers(batch, ",", "--batch", wanted)[0],
    )


def _require_onnx(purpose: str) -> None:
    from importlib.util import find_spec

    if find_spec("onnx") is None:
        raise MissingDependency("onnx", "export", purpose)
