"""The mutation testing itself: what is planted, and what is left out by rule."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SOURCE = '''
def half(value: float | None) -> float:
    """Half of it, or 1."""
    if value is None:
        raise ValueError("no value", 1 + 1)
    return value / 2


class Box:
    @property
    def size(self) -> int:
        return 3
'''


@pytest.fixture(scope="module")
def mutants(script):
    return script("tests/mutants.py")


@pytest.fixture
def checkout(mutants, monkeypatch, tmp_path):
    (tmp_path / "half.py").write_text(SOURCE)
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    return tmp_path


def test_each_mutant_is_one_fault_and_none_is_of_a_message(mutants, checkout):
    found = mutants.sample(["half.py"], 100, seed=0)
    lines = {line for mutant in found for line in mutant.diff.splitlines() if line.startswith("    +")}
    assert lines == {
        "    +    if value is not None:",
        "    +    return value * 2",
        "    +    return value / 3",
        "    +        return 4",  # mutmut alone leaves properties out
    }
    assert all("@property" in mutant.source for mutant in found)
    assert (checkout / "half.py").read_text() == SOURCE


def test_the_seed_chooses_the_sample(mutants, checkout):
    first, again, other = (mutants.sample(["half.py"], 2, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('raise KeyError("a")', "raise KeyError(None)"),
        ('raise KeyError("a") from error', 'raise KeyError("b") from error'),
        ('text = "two words"', 'text = "XXtwo wordsXX"'),
        ('text = f"share {a / b}"', 'text = f"share {a * b}"'),
        ("zip(a, b, strict=True)", "zip(a, b)"),
        ('cast("list[int]", value)', "cast(None, value)"),
        ("Refusal(name, todo=ADVICE)", "Refusal(name)"),
        ("np.load(file, allow_pickle=False)", "np.load(file)"),
    ],
)
def test_what_no_test_could_see_is_left_out(mutants, before, after):
    assert mutants.meaning(before) == mutants.meaning(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('raise KeyError("a")', 'raise ValueError("a")'),
        ('raise KeyError("a") from error', 'raise KeyError("a") from None'),
        ('text = "word"', 'text = "XXwordXX"'),
        ('name = f"{a}_scale"', 'name = f"{b}_scale"'),
        ("zip(a, b, strict=True)", "zip(a, strict=True)"),
        ('cast("list[int]", value)', 'cast("list[int]", None)'),
        ("Refusal(name, todo=ADVICE)", "Refusal(None, todo=ADVICE)"),
        ("np.load(file, allow_pickle=False)", "np.load(file, allow_pickle=True)"),
    ],
)
def test_what_a_test_can_see_is_kept(mutants, before, after):
    assert mutants.meaning(before) != mutants.meaning(after)


def test_every_mutated_module_is_there_and_has_tests_the_one_named_after_it_first(mutants):
    for module in mutants.modules():
        first, rest = mutants.tests_of(module)
        assert first + rest, module
        assert all((ROOT / name).is_file() for name in first + rest)
        own = f"tests/{Path(module).parent}/test_{Path(module).name}"
        assert not (ROOT / own).exists() or first[0] == own
        assert own not in rest


def test_a_mutant_is_caught_by_a_test_that_fails_and_the_module_mended_again(mutants, checkout, monkeypatch):
    def run(copy, tests, limit):
        names = {}
        try:
            exec((checkout / "half.py").read_text(), names)  # noqa: S102 - the test's own text
            return names["half"](4) == 2
        except ValueError:
            return False

    monkeypatch.setattr(mutants.Copy, "__init__", lambda self, folder: vars(self).update(folder=folder))
    monkeypatch.setattr(mutants.Copy, "passes", run)
    (checkout / "tests").mkdir()
    (checkout / "tests" / "test_half.py").touch()
    found = mutants.sample(["half.py"], 100, seed=0)
    caught = {
        line for m in found if mutants.Copy(checkout).catches(m, 60) for line in m.diff.splitlines()[2:]
    }
    assert caught == {
        "    +    if value is not None:",
        "    +    return value * 2",
        "    +    return value / 3",
    }
    assert (checkout / "half.py").read_text() == SOURCE


def test_the_checkout_is_left_alone_when_the_run_is_stopped(tmp_path):
    """Started, and killed while tests run; what it leaves is a folder for temporary files at most."""
    listed = ["git", "status", "--porcelain"]
    before = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout
    command = [sys.executable, "tests/mutants.py", "--sample", "1", "--only", "parity", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    )
    assert "mutants of" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout == before
    assert not list(tmp_path.glob("mutants-*"))
