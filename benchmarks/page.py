"""What the pages that benchmarks write have in common: who wrote them, and figures beside a rival's."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version

from edgeproof.runtime.inference.concurrency import cores

HEADING = "| figure | edgeproof | beside it | ratio | goal |"
RULE = "|---|---|---|---|---|"
PACKAGES = ("onnxruntime-gpu", "onnxruntime", "torch", "onnx", "onnxsim", "numpy")


@dataclass(frozen=True)
class Figure:
    """One measured figure beside the rival's of the same run.

    Attributes:
        name: what is measured, with its unit.
        ours: edgeproof's value.
        rival: the rival's value, and its name where the figure's does not say it.
        ratio: ours over the rival's, or the difference where the unit is a logarithm.
        goal: what the ratio, or our value, should be; empty where none is set.
    """

    name: str
    ours: str
    rival: str
    ratio: str
    goal: str = ""


def written(target: str) -> str:
    """The line that says which command wrote a page, when, and on what."""
    return f"Written by `make {target}` on {date.today().isoformat()} ({machine()})."


def machine() -> str:
    """Cores, processor, Python and the versions of the packages that matter."""
    found = ", ".join(f"{name} {installed}" for name in PACKAGES if (installed := _version(name)))
    system = f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"{system}, {found}, CPU provider"


def figure_table(figures: Iterable[Figure]) -> list[str]:
    """Figures as a Markdown table, which `figures_in` reads again."""
    return [HEADING, RULE, *(f"| {' | '.join(astuple(figure))} |" for figure in figures)]


def figures_in(page: str) -> Iterator[Figure]:
    """The figures of all tables of a page that `figure_table` made."""
    inside = False
    for line in page.splitlines():
        inside = line == HEADING or (inside and line.startswith("|"))
        if inside and line not in (HEADING, RULE):
            yield Figure(*(cell.strip() for cell in line.strip("|").split("|")))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
