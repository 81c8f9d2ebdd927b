"""Write what documents take from the program: the README's table, docs/commands.md and docs/training.md.

    python docs/generate.py [BUNDLE]

Without a bundle the README is left as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- written by `make docs` -->\n```text\n).*?(```\n<!-- end -->)", re.DOTALL)
COMMANDS = (
    *("export", "train", "models", "report", "evaluate", "compare", "package", "sweep"),
    *("quantize", "sensitivity", "preflight"),
    *("run", "verify", "build", "bench", "inspect", "doctor", "sign", "install", "rollback"),
)


def main() -> None:
    """Write the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, help="shown in the README")
    options = parser.parse_args()
    (ROOT / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
    (ROOT / "docs" / "training.md").write_text(training(), encoding="utf-8")
    if options.bundle:
        readme = ROOT / "README.md"
        table = edgeproof("inspect", str(options.bundle))
        written = BLOCK.sub(lambda found: found[1] + table + found[2], readme.read_text(encoding="utf-8"))
        readme.write_text(written, encoding="utf-8")


def commands() -> str:
    """The help of every command, as Markdown."""
    sections = [f"## {name}\n\n```text\n{edgeproof(name, '--help').strip()}\n```\n" for name in COMMANDS]
    return "\n".join(["# Commands\n\nWritten by `make docs` from `edgeproof COMMAND --help`.\n", *sections])


def training() -> str:
    """The trainings of docs/training, each a folder with what `edgeproof train` left, as Markdown."""
    lines = [
        "# Trainings",
        "",
        "Written by `make docs` from the `history.json` of each training in docs/training.",
        "",
        "| network | data | epochs | batch | learning rate | top-1, % | held out | minutes | with |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    histories = sorted((ROOT / "docs" / "training").glob("*/history.json"))
    for path in histories:
        history = json.loads(path.read_text(encoding="utf-8"))
        settings, result = history["settings"], history["result"]
        recipe, data = settings["recipe"], settings["data"]
        cells = [
            settings["model"]["name"],
            f"{data['name']}, {data['samples']} samples",
            str(recipe["epochs"]),
            str(recipe["batch"]),
            f"{recipe['optimizer']}, {recipe['schedule']}, {recipe['rate']:g}",
            f"{result['score']:.2f}",
            str(result["held_out"]),
            f"{result['seconds'] / 60:.0f}",
            result["made_with"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    names = [path.parent.name for path in histories]
    pictures = [f"## {name}\n\n![curves](training/{name}/curves.png)\n" for name in names]
    return "\n".join([*lines, "", *pictures])


def edgeproof(*arguments: str) -> str:
    """What the command prints, on a plain terminal 100 columns wide."""
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "edgeproof.export", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n"


if __name__ == "__main__":
    main()
