"""What the device's commands say on stderr beside their results."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from .bundle.manifest import Manifest
    from .inference.results import Totals
    from .inference.verification import Replay
    from .providers.placement import Placement

NOTICE_SECONDS = 5.0  # seconds


def tell(line: str) -> None:
    """A line on stderr."""
    typer.echo(line, err=True)


def tell_placement(manifest: Manifest, placement: Placement, precision: str, asked: str | None) -> None:
    """Say on stderr where the model runs and in which precision, unless both are just what was requested."""
    from .providers.registry import AUTO
    from .session.selection import explain_precision

    why = "" if asked else explain_precision(manifest, placement.provider, precision)
    if placement.wanted == AUTO or placement.fallback or placement.dla or why:
        tell(f"{placement}\n  precision {precision}" + (f" ({why})" if why else ""))


def tell_replays(results: Mapping[str, Replay], provider: str) -> None:
    """Say on stderr where each precision was replayed, unless that is just what was requested."""
    from .providers.registry import AUTO

    if provider != AUTO and not any(result.fallback for result in results.values()):
        return
    for placement in dict.fromkeys(result.placement for result in results.values()):
        names = [name for name, result in results.items() if result.placement == placement]
        tell(f"{', '.join(names)}: {placement}")


def tell_totals(totals: Totals, signals: list[int]) -> None:
    """Say on stderr how many frames were labelled, bad or dropped, unless all were labelled."""
    frames = totals.labelled + totals.bad
    if totals.skipped:
        tell(f"skipped {totals.skipped} file(s) of the folders that are no picture")
    if totals.rotation_ignored:
        tell(
            f"{totals.rotation_ignored} of {frames} pictures note a rotation in their EXIF data. It is not "
            "carried out, as in torchvision's loaders (preprocess.exif_transpose in the manifest)."
        )
    if signals:
        tell(f"ended by {signal.Signals(signals[0]).name}: {totals}")
    elif totals.bad or totals.dropped:
        tell(f"{frames} frames: {totals}")


@contextmanager
def elapsed_notices(what: str) -> Iterator[None]:
    """Say on stderr every few seconds that a long call, which prints nothing itself, is still running."""
    done, start = threading.Event(), time.monotonic()

    def tick() -> None:
        while not done.wait(NOTICE_SECONDS):
            tell(f"{what}: {time.monotonic() - start:.0f} s")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        done.set()
        ticker.join()
