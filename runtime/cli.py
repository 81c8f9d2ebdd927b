"""The device's commands, and the one edge where errors become messages and exit statuses."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from .errors import EdgeproofError, ProofError

EXIT_PROOF_FAILED = 1
EXIT_BAD_INPUT = 2

BundleArgument = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="A folder that `edgeproof export` wrote.")
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(help="fp32, fp16 or int8.", show_default="the one of the bundle's verdict"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def run(
    bundle: BundleArgument,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Pictures, .npy tensors, folders or globs.")
    ],
    precision: PrecisionOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to give.")] = 5,
) -> None:
    """Label pictures or tensors: one JSON object a line on stdout.

    A file that cannot be read gives {"source", "error"}; the rest goes on, and the exit status is 2.
    """
    from .records import encode
    from .runner import BadFrame, Runner
    from .sources import expand

    bad = 0
    with Runner.open(bundle, precision=precision, top=top) as runner:
        paths = expand(sources, runner.endings)
        for result in runner.stream(paths):
            bad += isinstance(result, BadFrame)
            emit(json.dumps(encode(result), allow_nan=False))
        if runner.sideways:
            typer.echo(
                f"{runner.sideways} of {len(paths)} pictures note a rotation in their EXIF data. It is not "
                "carried out, as in torchvision's loaders (preprocess.exif_transpose in the manifest).",
                err=True,
            )
    if bad:
        typer.echo(f"{bad} of {len(paths)} files could not be read.", err=True)
        raise typer.Exit(EXIT_BAD_INPUT)


def verify(bundle: BundleArgument, precision: PrecisionOption = None, as_json: JsonOption = False) -> None:
    """Replay the golden inputs here and compare with PyTorch's own answers.

    Without --precision, every precision whose proof held at export is replayed.
    """
    from .bundle import Bundle
    from .records import encode
    from .verification import verify as replay

    opened = Bundle.open(bundle)
    models = opened.manifest.models
    chosen = [precision] if precision else [name for name, model in models.items() if model.parity]
    if not chosen:
        raise ProofError(f"No precision of the bundle {opened.manifest.name} was proven at its export.")
    results = {name: replay(opened, name) for name in chosen}
    if as_json:
        emit(json.dumps(encode(results), indent=2))
    else:
        for name, parity in results.items():
            error = "unknown" if parity.relative_l2 is None else f"{parity.relative_l2:.2e}"
            emit(f"{name}: {'ok' if parity else 'FAILED'}  relative error {error}  {parity.reason}".rstrip())
    if not all(results.values()):
        raise typer.Exit(EXIT_PROOF_FAILED)


def inspect(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Verify a bundle's files and print what its manifest says."""
    from .bundle import Bundle
    from .summary import summarize

    opened = Bundle.open(bundle)
    emit(opened.manifest.to_json().rstrip() if as_json else summarize(opened.manifest))


def emit(line: str) -> None:
    """Print to stdout at once; when its reader has gone (`| head`), leave quietly as other tools do."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def register(app: typer.Typer) -> None:
    """Add this floor's commands to an application."""
    for command in (run, verify, inspect):
        app.command()(command)


def main(app: typer.Typer) -> None:
    """Run an application; turn every error into one message on stderr and its exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    debug = _Debug(app)
    try:
        app(prog_name="edgeproof")
    except EdgeproofError as error:
        if debug.wanted:
            raise
        sys.stdout.flush()
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)
    except Exception as error:
        if debug.wanted:
            raise
        kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
        typer.echo(f"error: {kind}{error}\n  to do:     run `edgeproof --debug ...` to see where", err=True)
        sys.exit(EXIT_BAD_INPUT)


class _Debug:
    """Adds the global option --debug to an application and remembers whether it was given."""

    def __init__(self, app: typer.Typer) -> None:
        self.wanted = False
        app.callback()(self._callback())

    def _callback(self) -> Callable[..., None]:
        def edgeproof(
            debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
        ) -> None:
            """Take a PyTorch vision model to an embedded NVIDIA GPU, and prove every step."""
            self.wanted = debug

        return edgeproof


def _stop(number: int, frame: FrameType | None) -> None:
    """Unwind, so that drafts are removed, and leave with the shell's status for the signal."""
    typer.echo("interrupted; nothing half-written is left behind", err=True)
    sys.exit(128 + number)
