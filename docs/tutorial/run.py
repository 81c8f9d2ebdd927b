"""Run every command of docs/tutorial.md, and keep the pictures that they make.

python docs/tutorial/run.py [FOLDER]        FOLDER is artifacts/tutorial where none is named
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "tutorial.md"
PICTURES = ("evaluation.png", "depth.png")


def commands() -> list[list[str]]:
    """The lines of the document's console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def preprocessing() -> str:
    """The file that the document writes down."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"As a file, `shapes.json`:\n\n```json\n(.*?)```", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"{DOCUMENT} names no shapes.json")
    return found[1]


def run(folder: Path) -> None:
    """Run all of them there, one after the other; stop at the first that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "shapes.py", folder)
    (folder / "shapes.json").write_text(preprocessing(), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands():
        started = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PATH": path})
        print(f"{time.perf_counter() - started:6.1f} s  {shlex.join(command)}", file=sys.stderr)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts/tutorial")
    shutil.rmtree(place, ignore_errors=True)
    run(place)
    for name in PICTURES:
        shutil.copy(place / name, HERE)
