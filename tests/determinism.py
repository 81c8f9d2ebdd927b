"""The same export by several Pythons: ONNX files and golden arrays must be the same bytes.

    python tests/determinism.py PYTHON [PYTHON ...] [--model mobilenet_v3_small] [--write FILE.md]

Each Python (such as python3.12, or a path) gets an environment of its own with the locked packages, trains
the demo weights anew, and exports twice. Exit status 1: a file differs. Takes a package index and minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMES = 2


def main() -> None:
    """Export with each Python, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--model", default="mobilenet_v3_small")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for number, python in enumerate(options.pythons):
            found |= exports(python, options.model, Path(folder) / str(number))
    report = render(options.model, found)
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")
    first, *others = found.values()
    sys.exit(any(files != first for files in others))


def render(model: str, found: dict[str, dict[str, str]]) -> str:
    """A table of the files' hashes as Markdown, a column an export."""
    names = sorted({name for files in found.values() for name in files})
    first, *others = found.values()
    same = all(files == first for files in others)
    rows = [[name, *(files.get(name, "-")[:12] for files in found.values())] for name in names]
    lines = [
        "# The same bytes",
        "",
        f"Written by `make determinism` on {date.today().isoformat()}: `{model}` is trained and exported",
        "anew, by each Python in an environment of its own with the locked packages. The first digits of",
        f"each file's SHA-256; the files {'are all the same' if same else 'differ'}.",
        "",
        f"| file | {' | '.join(found)} |",
        "|---|" + "---|" * len(found),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def exports(python: str, model: str, folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of each file of each export, by the Python's version and the export's number."""
    shell([python, "-m", "venv", str(folder / "venv")])
    own = str(folder / "venv" / "bin" / "python")
    packages = ["--constraint", str(ROOT / "constraints.txt"), f"{ROOT}[export,cpu]"]
    shell([own, "-m", "pip", "install", "--quiet", *packages])
    version = shell([own, "-c", "import platform; print(platform.python_version())"]).strip()
    found = {}
    for time in range(TIMES):
        out = folder / f"bundle{time}"
        environment = {**os.environ, "EDGEPROOF_CACHE": str(folder / f"cache{time}")}
        shell([own, "-m", "edgeproof.export", "export", model, "--out", str(out)], environment)
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        entries = [*manifest["models"].values(), manifest["golden"], *manifest["pictures"]]
        found[f"Python {version}, export {time + 1}"] = {each["file"]: each["sha256"] for each in entries}
        print(f"Python {version}, export {time + 1}: done", file=sys.stderr, flush=True)
    return found


def shell(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
