"""Mutation testing: which share of small faults, planted one at a time, the tests see.

    python tests/mutants.py [--sample 240] [--seed 0] [--workers 2] [--goal 85] [--only PART_OF_A_PATH]

mutmut makes the mutants. Its own runner expects packages in folders of their import names and works inside a
`mutants/` folder of the checkout; neither fits floors that setuptools maps to `edgeproof.*`. So this script
takes a random sample (the same for the same seed and code), plants each mutant in a copy of the checkout,
and runs there the tests of the module's room: first the file named after it and those of `EXTRA_TESTS`, then
the rest of `tests/FLOOR/ROOM/`. The checkout itself is only read. A mutant is caught when a test fails, or
when the tests take far longer than without it.

Left out are mutants that change nothing but
- type annotations, docstrings and decorators (mutmut makes none; those of `typing.cast` are left out here),
- the text of messages: what a raised error is given, what an error's `wanted`, `got`, `available` and `todo`
  say, and strings with a space in them,
- arguments that only guard against a programmer's mistake or say what is the default anyway: `strict=`,
  `encoding=`, `allow_pickle=False`.

Prints the survivors as diffs, and the share that was caught of each module and of all. Exit status 1: below
the goal.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import cache_from_source
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Queue

from mutmut.mutation.file_mutation import create_mutations, deep_replace

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("runtime", "calibration", "export")
MUTATED = (
    "runtime/bundle/parity.py",
    "runtime/bundle/accuracy.py",
    "runtime/bundle/bundle.py",
    "runtime/bundle/manifest.py",
    "runtime/providers/placement.py",
    "runtime/inference/runner.py",
    "runtime/inference/workers.py",
    "runtime/inference/concurrency.py",
    "calibration/ranges/*.py",
    "calibration/qdq/*.py",
)
# Tests of other rooms that show what a module does.
EXTRA_TESTS = {
    "runtime/providers/placement.py": ("tests/runtime/session/test_session.py",),
}
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not gpu", "--hypothesis-seed=0")
# Each run of tests is forked from a process that has imported what takes long.
FORKS = multiprocessing.get_context("forkserver")
PRELOADED = [
    "hypothesis.extra.numpy",
    "numpy",
    "onnx",
    "onnxruntime",
    "PIL.Image",
    "pytest",
    "torch",
    "typer",
]
OUTPUT = ".pytest-output"
SPARE_SECONDS = 30  # a run may take three times as long as without a mutant, and this
MESSAGE_PARTS = ("wanted", "got", "available", "todo")
# mutmut leaves decorated functions alone, because it keeps all forms in one file. Here only one stands in it.
DECORATOR, HIDDEN = re.compile(r"^( *)@(?!dataclass)", re.MULTILINE), "#hidden@"


@dataclass(frozen=True)
class Mutant:
    """A module, by its path in the checkout, with one fault in its source."""

    module: str
    source: str
    diff: str


def main() -> None:
    """Plant the sample and print what was caught."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that copies and children are removed
    FORKS.set_forkserver_preload(PRELOADED)
    started = time.monotonic()
    mutants = sample([name for name in modules() if asked.only in name], asked.sample, asked.seed)
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(asked.workers)]
        caught = judge(mutants, copies)
    report(mutants, caught)
    share, minutes = 100 * sum(caught) / len(caught), (time.monotonic() - started) / 60
    print(
        f"{sum(caught)} of {len(caught)} caught, {share:.1f} %, in {minutes:.0f} minutes (seed {asked.seed})"
    )
    sys.exit(share < asked.goal)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=240, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="test runs at a time")
    parser.add_argument("--goal", type=float, default=85, help="least share to be caught, percent")
    parser.add_argument("--only", default="", help="part of the paths of the modules to mutate")
    return parser.parse_args()


def modules() -> list[str]:
    """The modules to mutate; a pattern that finds none is an error."""
    found: list[str] = []
    for pattern in MUTATED:
        paths = [path for path in sorted(ROOT.glob(pattern)) if path.name != "__init__.py"]
        if not paths:
            sys.exit(f"{pattern} in MUTATED of tests/mutants.py names no file")
        found += (str(path.relative_to(ROOT)) for path in paths)
    return found


def tests_of(module: str) -> tuple[list[str], list[str]]:
    """The tests that see a module: the file named after it and those of other rooms; the rest of its room."""
    path = Path(module)
    own = ROOT / "tests" / path.parent / f"test_{path.name}"
    near = [own, *(ROOT / name for name in EXTRA_TESTS.get(module, ()))]
    rest = sorted(set(own.parent.glob("test_*.py")) - {own})
    first, second = (
        [str(file.relative_to(ROOT)) for file in files if file.exists()] for files in (near, rest)
    )
    return first, second


def sample(paths: Sequence[str], size: int, seed: int) -> list[Mutant]:
    """A random sample of the mutants of some modules, sorted by module."""
    sources = {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
    meanings = {path: meaning(source) for path, source in sources.items()}
    possible = [(path, mutate) for path, source in sources.items() for mutate in mutations(path, source)]
    random.Random(seed).shuffle(possible)  # noqa: S311 - a sample, not a secret
    chosen: list[Mutant] = []
    for path, mutate in possible:
        source = mutate()
        if meaning(source) != meanings[path]:
            chosen.append(Mutant(path, source, difference(path, sources[path], source)))
        if len(chosen) == size:
            break
    print(f"{len(chosen)} of {len(possible)} mutants of {len(paths)} modules", file=sys.stderr)
    return sorted(chosen, key=lambda mutant: mutant.module)


def mutations(path: str, source: str) -> list[Callable[[], str]]:
    """All mutants of a source, each a function that writes its text."""
    module, found, _, _ = create_mutations(path, DECORATOR.sub(rf"\1{HIDDEN}", source))

    def write(original: object, mutated: object) -> str:
        return deep_replace(module, original, mutated).code.replace(HIDDEN, "@")

    return [partial(write, mutation.original_node, mutation.mutated_node) for mutation in found]


def meaning(source: str) -> str:
    """What a source does, without what is left out by rule."""
    try:
        return ast.dump(Quiet().visit(ast.parse(source)))
    except SyntaxError:
        return ""  # no test is needed to see it: the module cannot be imported


class Quiet(ast.NodeTransformer):
    """Takes messages, the types of casts and arguments without effect out of a syntax tree."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        """Keep the error's class only."""
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc, node.cause)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """A string with a space is a text for people."""
        return ast.Constant("") if isinstance(node.value, str) and " " in node.value else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        """So is a formatted one, with all that is put into it."""
        texts = [part.value for part in node.values if isinstance(part, ast.Constant)]
        return ast.Constant("") if any(" " in text for text in texts) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Take away arguments without effect, and the cast around a value."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "cast":
            return ast.Constant("cast") if len(node.args) != 2 else node.args[1]
        node.keywords = [keyword for keyword in node.keywords if not self._without_effect(keyword)]
        return node

    @staticmethod
    def _without_effect(keyword: ast.keyword) -> bool:
        if keyword.arg == "allow_pickle":
            return isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        return keyword.arg in ("strict", "encoding", *MESSAGE_PARTS)


def difference(path: str, before: str, after: str) -> str:
    """Both versions of the lines that differ, under the file and the number of the first."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    number = re.search(r"-(\d+)", lines[0])
    return "\n".join([f"{path}:{number[1] if number else '?'}", *(f"    {line}" for line in lines[1:])])


def run_pytest(folder: Path, tests: Sequence[str]) -> None:
    """In a process of its own: run tests of a copy and exit with pytest's status."""
    import pytest

    os.setsid()
    written = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for output in (1, 2):
        os.dup2(written, output)
    os.chdir(folder)
    sys.path[:0] = [str(folder / ".site"), str(folder)]
    os.environ["PYTHONPATH"] = str(folder / ".site")
    sys.exit(pytest.main([*PYTEST, *tests]))


class Copy:
    """A copy of the working tree, which may be changed, in which one run of tests at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: BaseProcess | None = None
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
            "\0"
        )
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / ".site" / "edgeproof").mkdir(parents=True)
        for place in (*(folder / floor for floor in FLOORS), *(folder / "package").iterdir()):
            (folder / ".site" / "edgeproof" / place.name).symlink_to(place)

    def passes(self, tests: Sequence[str], limit: float | None = None) -> bool:
        """Whether the tests pass here within a limit in seconds."""
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        self._running = FORKS.Process(target=run_pytest, args=(self.folder, tuple(tests)))
        self._running.start()
        self._running.join(limit)
        code = self._running.exitcode
        self.stop()
        return code == 0

    def require(self, tests: Sequence[str]) -> None:
        """Stop unless the tests pass as they are: else every mutant would seem to be caught."""
        if not self.passes(tests):
            sys.exit(
                f"These fail without a mutant: {(self.folder / OUTPUT).read_text(errors='replace')[-4000:]}"
            )

    def stop(self) -> None:
        """End the run of tests, with all that it started."""
        if self._running is not None and self._running.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._running.pid, signal.SIGKILL)
            self._running.kill()
            self._running.join()

    def catches(self, mutant: Mutant, limit: float) -> bool:
        """Whether a test fails while the mutant stands here."""
        path = self.folder / mutant.module
        original = path.read_text(encoding="utf-8")
        self._write(path, mutant.source)
        try:
            return not all(self.passes(tests, limit) for tests in tests_of(mutant.module) if tests)
        finally:
            self._write(path, original)

    @staticmethod
    def _write(path: Path, source: str) -> None:
        """Change a module, and forget its compiled form, which the time of a quick change may not outdate."""
        path.write_text(source, encoding="utf-8")
        Path(cache_from_source(path)).unlink(missing_ok=True)


def judge(mutants: Sequence[Mutant], copies: Sequence[Copy]) -> list[bool]:
    """For each mutant whether the tests catch it. First the tests must pass without one."""
    free: Queue[Copy] = Queue()
    for copy in copies:
        free.put(copy)

    def in_a_copy(use: Callable[[Copy], object]) -> object:
        copy = free.get()
        try:
            return use(copy)
        finally:
            free.put(copy)

    def seconds(tests: frozenset[str]) -> float:
        started = time.monotonic()
        in_a_copy(lambda copy: copy.require(sorted(tests)))
        return time.monotonic() - started

    def caught(mutant: Mutant) -> bool:
        limit = 3 * taken[all_tests_of(mutant)] + SPARE_SECONDS
        result = bool(in_a_copy(lambda copy: copy.catches(mutant, limit)))
        print(
            "." if result else f"\nsurvived: {mutant.diff}",
            end="" if result else "\n",
            file=sys.stderr,
            flush=True,
        )
        return result

    with ThreadPoolExecutor(len(copies)) as pool:
        try:
            selections = list({all_tests_of(mutant) for mutant in mutants})
            taken = dict(zip(selections, pool.map(seconds, selections), strict=True))
            return list(pool.map(caught, mutants))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for copy in copies:
                copy.stop()
            raise


def all_tests_of(mutant: Mutant) -> frozenset[str]:
    """All files of tests that see a mutant's module."""
    first, second = tests_of(mutant.module)
    return frozenset([*first, *second])


def report(mutants: Sequence[Mutant], caught: Sequence[bool]) -> None:
    """Print the survivors and the share of each module."""
    for mutant in (mutant for mutant, seen in zip(mutants, caught, strict=True) if not seen):
        print(mutant.diff)
    planted = Counter(mutant.module for mutant in mutants)
    found = Counter(mutant.module for mutant, seen in zip(mutants, caught, strict=True) if seen)
    for module, number in planted.items():
        print(f"{found[module]:4d} of {number:3d}  {module}")


if __name__ == "__main__":
    main()
