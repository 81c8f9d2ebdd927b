"""The pages that commands write have the form that those commands give them today."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {
    "export_speed.md": "bench-export",
    "runner.md": "bench-runner",
    "int8.md": "bench-int8",
    "benchmarks.md": "bench",
    "models.md": "zoo",
    "placed_models.md": "zoo",
    "foreign.md": "foreign",
}
TABLES = (
    ("models.md", "zoo"),
    ("placed_models.md", "zoo"),
    ("foreign.md", "foreign"),
    ("int8.md", "int8"),
    ("int8.md", "int8_folds"),
)


def headings(page: str) -> list[list[str]]:
    """The first row of each table."""
    tables = re.findall(r"^\|(.*)\|\n\|(?:-+\|)+$", (DOCS / page).read_text(), re.MULTILINE)
    return [[cell.strip() for cell in heading.split("|")] for heading in tables]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_the_command_that_writes_it(page):
    found = re.search(r"^Written by `make ([a-z0-9-]+)`", (DOCS / page).read_text(), re.MULTILINE)
    assert found[1] == PAGES[page]
    assert f"make {found[1]} " in subprocess.check_output(["make", "help"], text=True, cwd=ROOT)


@pytest.mark.parametrize(("page", "writer"), TABLES)
def test_a_table_has_the_columns_of_its_command(page, writer, script):
    columns = list(script(f"benchmarks/{writer}.py").COLUMNS)
    assert columns in headings(page), f"run `make {PAGES[page]}`"


def test_the_summary_is_of_these_pages(script):
    summary = script("benchmarks/summary.py").summary(DOCS)
    assert (DOCS / "benchmarks.md").read_text() == summary, "run `make bench`"


def test_every_page_of_the_summary_has_figures(script):
    summary, page = script("benchmarks/summary.py"), script("benchmarks/page.py")
    for name in summary.PAGES:
        figures = list(page.figures_in((DOCS / name).read_text()))
        assert figures, f"run `make {PAGES[name]}`"
        assert all(each.ours and each.rival and each.ratio for each in figures)


def test_figures_are_read_as_they_were_written(script):
    page = script("benchmarks/page.py")
    figures = [page.Figure("a, s", "1", "2 (x)", "0.5", "at most 1"), page.Figure("b", "3", "3", "1")]
    text = "\n".join(["# T", "| a |", "|---|", "| b |", "", *page.figure_table(figures), "", "| c |"])
    assert list(page.figures_in(text)) == figures
