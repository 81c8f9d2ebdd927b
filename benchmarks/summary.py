"""All figures that were measured beside a rival, gathered from the pages that hold them.

    python benchmarks/summary.py [--write FILE.md]

Nothing is measured here: each page says which command measured it, and when.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import page

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = ("export_speed.md", "runner.md", "int8.md")


def main() -> None:
    """Print the summary, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    options = parser.parse_args()
    text = summary(DOCS)
    print(text)
    if options.write:
        options.write.write_text(text, encoding="utf-8")


def summary(folder: Path) -> str:
    """The summary of the pages in a folder, as Markdown."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` from the pages below. Each was measured by its own command, with",
        "the rival in the same run, on the same inputs. For dB and points, the ratio is a difference.",
    ]
    for name in PAGES:
        text = (folder / name).read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        source = next(line for line in text.splitlines() if line.startswith("Written by"))
        lines += ["", f"## [{title}]({name})", "", source, "", *page.figure_table(page.figures_in(text))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
