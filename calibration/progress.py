"""What is being done, for the person who waits: on stderr, never on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

Item = TypeVar("Item")


class Progress:
    """Says which stage is running, and remembers how long each took.

    Args:
        quiet: say nothing; for use as a library.

    Attributes:
        seconds: wall time of each stage that has ended, by name.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and announce its end; a stage that fails is announced as such."""
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self._console.print(f"[red]✗[/red] {name}")
            raise
        self.seconds[name] = time.perf_counter() - start
        self._console.print(f"[green]✓[/green] {name:<12} {self.seconds[name]:6.1f} s")

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        self._console.print(f"  {text}", markup=False)

    def track(self, items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
        """Pass items through with a progress bar."""
        if not self._console.is_terminal:
            yield from items
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with ProgressBar(*columns, console=self._console, transient=True) as bar:
            yield from bar.track(items, total=total, description=title)
