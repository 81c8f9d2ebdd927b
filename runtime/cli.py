"""The device's commands."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from .command import EXIT_BAD_INPUT, EXIT_PROOF_FAILED, SIGNALS, JsonOption, emit, lowered, stop_at_once
from .errors import InputError, PrecisionError, ProofError
from .notices import elapsed_notices, tell, tell_placement, tell_replays, tell_totals
from .options import (
    BatchOption,
    BundleArgument,
    DeviceOption,
    DlaOption,
    FallbackOption,
    GraphOption,
    KeysOption,
    PrecisionOption,
    ProviderOption,
    WorkspaceOption,
    engine_options,
    verifying_keys,
)
from .rollout.cli import install, rollback, sign

if TYPE_CHECKING:
    from .bundle.bundle import Bundle
    from .inference.runner import Runner
    from .inference.verification import Replay
    from .providers.request import ProviderRequest
    from .rollout.changeover import SlotRunner


def run(  # noqa: PLR0913 - a command has as many arguments as options
    bundle: BundleArgument,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Pictures, videos, .npy tensors, folders, globs, - for paths on stdin, or a camera: "
            "camera:0, gstreamer:PIPELINE, rtsp://...",
        ),
    ],
    precision: PrecisionOption = None,
    provider: ProviderOption = "auto",
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    dla: DlaOption = None,
    workspace: WorkspaceOption = None,
    batch: BatchOption = 1,
    cuda_graph: GraphOption = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="CPU threads of one inference; more label one frame sooner, and fewer frames a second.",
            show_default="1, with an inference for every core",
        ),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            min=1, help="Inferences at once.", show_default="as many as the CPU has cores for; 1 on a GPU"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that decode and preprocess.", show_default="one a core"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to give.")] = 5,
    annotate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Also write each picture there with its labels on it."),
    ] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a table with a header in place of JSON.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as without it.")] = False,
    require_signature: KeysOption = None,
) -> None:
    """Label pictures, tensors, a video or a camera: one JSON object a line on stdout.

    BUNDLE may be a slot (see `edgeproof install`): its bundle is run, and each that is installed there later.
    A frame that cannot be read gives an object with "error"; the rest goes on, and the exit status is 2.
    Ctrl-C or SIGTERM ends a stream after the frames that are under way.
    """
    from .inference.annotate import Annotator
    from .inference.formats import csv_header, csv_line, json_line
    from .inference.runner import Runner
    from .providers.request import ProviderRequest
    from .rollout.changeover import open_runner

    if as_csv and as_json:
        raise InputError("--csv and --json exclude each other.", todo="leave one of them out")
    request = ProviderRequest(
        provider=provider,
        precision=precision,
        allow_fallback=allow_fallback,
        device=device,
        threads=threads,
        engine=engine_options(dla, workspace, batch, cuda_graph),
    )
    open_bundle = partial(Runner.open, provider=request, top=top, workers=workers, streams=streams)
    opened = open_runner(bundle, open_bundle, verifying_keys(require_signature), tell=tell)
    with opened as runner, _stopped_by_signals(runner) as signals:
        tell_placement(runner.bundle.manifest, runner.placement, runner.precision, precision)
        visit = Annotator(annotate) if annotate else None
        classes = runner.classes
        if as_csv:
            emit(csv_header(classes))
        for result in runner.stream(sources, visit=visit):
            emit(csv_line(result, classes) if as_csv else json_line(result))
    tell_totals(runner.totals, signals)
    if signals:
        raise typer.Exit(128 + signals[0])
    if runner.totals.bad:
        raise typer.Exit(EXIT_BAD_INPUT)


def verify(
    bundle: BundleArgument,
    precision: Annotated[
        str | None,
        typer.Option(callback=lowered, help="fp32, fp16 or int8.", show_default="every one that was proven"),
    ] = None,
    provider: ProviderOption = "auto",
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    dla: DlaOption = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
    require_signature: KeysOption = None,
) -> None:
    """Replay the golden inputs here and compare with PyTorch's own answers.

    Without --precision, every precision whose proof held at export is replayed; one that this machine's
    ONNX Runtime is known to compute wrongly is left out, and named on stderr.
    """
    from .inference.verification import replay_line
    from .providers.request import ProviderRequest
    from .records import encode
    from .signing.signature import open_signed

    opened = open_signed(bundle, verifying_keys(require_signature))
    models = opened.manifest.models
    chosen = [precision] if precision else [name for name, model in models.items() if model.parity]
    if not chosen:
        raise ProofError(f"No precision of the bundle {opened.manifest.name} was proven at its export.")
    request = ProviderRequest(
        provider=provider, allow_fallback=allow_fallback, device=device, engine=engine_options(dla, workspace)
    )
    results = _replay(opened, chosen, request, asked=precision is not None)
    tell_replays(results, provider)
    if as_json:
        emit(json.dumps(encode(results), indent=2))
    else:
        for name, result in results.items():
            for title, found in ((name, result), (f"{name} without TF32", result.exact)):
                if found is not None:
                    emit(f"{title}: {replay_line(found)}")
    if not all(results.values()):
        raise typer.Exit(EXIT_PROOF_FAILED)


def build(
    bundle: BundleArgument,
    provider: ProviderOption = "tensorrt",
    precision: PrecisionOption = None,
    device: DeviceOption = 0,
    dla: DlaOption = None,
    workspace: WorkspaceOption = None,
    batch: BatchOption = 1,
    cuda_graph: GraphOption = False,
    context: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="Also write the model with its engine to one file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a bundle with TensorRT, for this machine, ahead of its first run.

    `run` with the same options then loads the engine.
    """
    from .bundle.bundle import Bundle
    from .providers.request import ProviderRequest
    from .records import encode
    from .session.build import build as compile_engine

    opened = Bundle.open(bundle)
    request = ProviderRequest(
        provider=provider,
        precision=precision,
        device=device,
        engine=engine_options(dla, workspace, batch, cuda_graph),
    )
    with elapsed_notices(f"compiling {opened.manifest.name}"):
        result = compile_engine(opened, request, context)
    if as_json:
        emit(json.dumps(encode(result), indent=2))
        return
    how = "compiled" if result.built else "was there already"
    emit(f"{result.precision}: {how}, {result.seconds:.1f} s, on {result.placement}\nengine: {result.folder}")
    if result.context:
        emit(f"context model: {result.context}")


def bench(  # noqa: PLR0913 - a command has as many arguments as options
    bundle: BundleArgument,
    provider: ProviderOption = "auto",
    precision: PrecisionOption = None,
    batch: Annotated[str, typer.Option(metavar="N,N,...", help="Sizes of batch, one after the other.")] = "1",
    warm_up: Annotated[float, typer.Option("--warm-up", min=0, help="Seconds before it counts.")] = 1.0,
    duration: Annotated[float, typer.Option(min=0, help="Seconds that count, for each.")] = 5.0,
    compare: Annotated[
        str | None,
        typer.Option(
            callback=lowered, metavar="PROVIDER:PRECISION,...", help="Measure these beside it, in turns."
        ),
    ] = None,
    allow_fallback: FallbackOption = False,
    device: DeviceOption = 0,
    dla: DlaOption = None,
    workspace: WorkspaceOption = None,
    cuda_graph: GraphOption = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of one inference.", show_default="one a core")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also draw throughput and latency.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure latency, throughput, memory and, where there are sensors, power.

    Latency is that of one batch, one at a time, from memory to memory. A percentile is a latency that was
    measured (nearest rank), and is given only with a sample beyond it: p99.9 takes 1000 of them.
    """
    from .bench import report as bench_report
    from .bench.bench import BenchmarkPlan, parse_batches, parse_requests
    from .bench.bench import bench as measure
    from .bundle.bundle import Bundle
    from .providers.request import ProviderRequest
    from .records import encode

    if plot:
        bench_report.ensure_can_plot(plot)
    opened = Bundle.open(bundle)
    request = ProviderRequest(
        provider=provider,
        precision=precision,
        allow_fallback=allow_fallback,
        device=device,
        threads=threads,
        engine=engine_options(dla, workspace, cuda_graph=cuda_graph),
    )
    others = parse_requests(compare, request) if compare else ()
    plan = BenchmarkPlan((request, *others), parse_batches(batch), warm_up, duration)
    report = measure(opened, plan, tell=tell)
    for found in report.measurements:
        if found.wanted == "auto" or found.fallback:
            tell(f"batch {found.batch}: {found.placement}, precision {found.precision}")
    emit(json.dumps(encode(report), indent=2) if as_json else bench_report.text(report))
    if plot:
        bench_report.plot(report, plot)


def doctor(as_json: JsonOption = False) -> None:
    """Report what this machine has, what it lacks, and the line to type for each lack."""
    from . import doctor as house
    from .records import encode

    findings = house.examine()
    emit(json.dumps(encode(findings), indent=2) if as_json else house.text(findings))


def inspect(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Verify a bundle's files and print what its manifest says."""
    from .bundle.bundle import Bundle
    from .bundle.summary import summarize

    opened = Bundle.open(bundle)
    emit(opened.manifest.to_json().rstrip() if as_json else summarize(opened.manifest))


def register(app: typer.Typer) -> None:
    """Add this floor's commands to an application."""
    for command in (run, verify, build, bench, inspect, doctor, sign, install, rollback):
        app.command()(command)


def _replay(bundle: Bundle, names: list[str], request: ProviderRequest, *, asked: bool) -> dict[str, Replay]:
    """Replays by precision; one that was not requested by name is left out where it cannot be computed."""
    from .inference.verification import verify as replay

    results: dict[str, Replay] = {}
    for name in names:
        try:
            results[name] = replay(bundle, name, request)
        except PrecisionError as error:
            if asked:
                raise
            tell(f"{name}: not replayed. {error}")
    if not results:
        raise ProofError(f"No precision of the bundle {bundle.manifest.name} could be replayed here.")
    return results


@contextmanager
def _stopped_by_signals(runner: Runner | SlotRunner) -> Iterator[list[int]]:
    """Let the first signal end the runner's stream, and a second one the process; gives those received."""
    received: list[int] = []

    def finish(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for known in SIGNALS:
            signal.signal(known, stop_at_once)
        runner.stop()

    before = {number: signal.signal(number, finish) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
