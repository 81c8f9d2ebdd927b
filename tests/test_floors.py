"""The rules of the house hold in every file."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("runtime", "calibration", "export")  # from the ground up
FILES = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imported(path: Path):
    """Names of the modules that a file imports, relative ones resolved from the repository's root."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, 0
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ((".".join([*base, name]), node.level) for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only_and_are_relative(path):
    own = FLOORS.index(path.relative_to(ROOT).parts[0])
    for name, level in imported(path):
        top = name.split(".")[0]
        assert top != "edgeproof", f"{name}: import it relatively"
        if top in FLOORS:
            assert level, f"{name}: a bare import makes a second copy of the module"
            assert FLOORS.index(top) <= own, f"{name} is a floor above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 400


FOLDERS = sorted({path.parent for path in FILES})
REGISTRIES = ("models", "data")  # of export: one architecture, one data set a file


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_holds_few_modules_and_says_what_lives_there(folder):
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= 14 or folder.name in REGISTRIES
    document = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert 1 < len(document.splitlines()) <= 4


ROOM_TESTS = [path for floor in FLOORS for path in sorted((ROOT / "tests" / floor).glob("*/test_*.py"))]


@pytest.mark.parametrize("path", ROOM_TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_in_a_room_is_named_after_a_module_of_it(path):
    room = ROOT / path.parent.relative_to(ROOT / "tests")
    assert (room / path.name.removeprefix("test_")).exists(), (
        "what crosses rooms stands in the floor's folder"
    )


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize(
    "room", [path for path in FOLDERS if path.parent != ROOT], ids=lambda path: path.name
)
def test_contributing_says_what_lives_in_each_room(room):
    (row,) = re.findall(rf"^\| `{room.parent.name}/` \| (`.*)$", CONTRIBUTING, re.MULTILINE)
    assert f"`{room.name}/`" in row


def test_what_contributing_names_is_there():
    paths = [name for name in re.findall(r"`([\w/.]+\.(?:py|md|toml))`", CONTRIBUTING) if "NAME" not in name]
    assert paths
    assert [name for name in paths if "/" in name and not (ROOT / name).exists()] == []
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z0-9-]+)", CONTRIBUTING)) <= set(targets)


def test_nothing_stands_at_the_top_but_what_the_design_names():
    allowed = {
        *FLOORS,
        "package",
        "tests",
        "benchmarks",
        "docs",
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
    }
    allowed |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "artifacts", "build", "dist"}
    present = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}
    assert {name for name in present - allowed if not name.endswith(".egg-info")} == set()
