"""What every command shares: output, and errors as messages with exit statuses."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from types import FrameType
from typing import Annotated

import typer

from .errors import EdgeproofError

EXIT_PROOF_FAILED = 1
EXIT_BAD_INPUT = 2
SIGNALS = (signal.SIGINT, signal.SIGTERM)

HELP = {"help_option_names": ["-h", "--help"]}  # of every command
STATUSES = (
    "Exit status: 0 done; 1 a proof failed; 2 bad usage or input; 130 (Ctrl-C), 143 (SIGTERM) and 141 (its "
    "output was no longer read) when it was stopped."
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def lowered(value: str | None) -> str | None:
    """A word of an option in lower case, as all of its words are."""
    return value.lower() if value else value


def emit(line: str) -> None:
    """Print to stdout at once; when its reader has gone (`| head`), leave quietly as other tools do."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def main(app: typer.Typer) -> None:
    """Run an application; turn every error into one message on stderr and its exit status."""
    for number in SIGNALS:
        signal.signal(number, stop_at_once)
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
        app.callback(epilog=STATUSES)(self._callback())

    def _callback(self) -> Callable[..., None]:
        def edgeproof(
            debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
            version: Annotated[
                bool,
                typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version."),
            ] = False,
        ) -> None:
            """Take a PyTorch vision model to an embedded NVIDIA GPU, and prove every step."""
            self.wanted = debug

        return edgeproof


def _tell_version(wanted: bool) -> None:
    if wanted:
        emit(f"edgeproof {version('edgeproof')}")
        raise typer.Exit


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Unwind, so that drafts are removed, and leave with the shell's status for the signal."""
    typer.echo("interrupted; nothing half-written is left behind", err=True)
    sys.exit(128 + number)
