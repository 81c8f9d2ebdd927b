"""Write what documents take from the program: the README's table and docs/commands.md.

    python docs/generate.py [BUNDLE]

Without a bundle, only docs/commands.md is written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- written by `make docs` -->\n```text\n).*?(```\n<!-- end -->)", re.DOTALL)
COMMANDS = (
    *("export", "train", "models", "quantize", "preflight"),
    *("run", "verify", "build", "inspect", "doctor"),
)


def main() -> None:
    """Write the documents."""
    (ROOT / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
    if len(sys.argv) > 1:
        readme = ROOT / "README.md"
        table = edgeproof("inspect", sys.argv[1])
        written = BLOCK.sub(lambda found: found[1] + table + found[2], readme.read_text(encoding="utf-8"))
        readme.write_text(written, encoding="utf-8")


def commands() -> str:
    """The help of every command, as Markdown."""
    sections = [f"## {name}\n\n```text\n{edgeproof(name, '--help').strip()}\n```\n" for name in COMMANDS]
    return "\n".join(["# Commands\n\nWritten by `make docs` from `edgeproof COMMAND --help`.\n", *sections])


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
