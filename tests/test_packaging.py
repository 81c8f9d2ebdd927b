"""What is in the wheel, and what it asks a device to install."""

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("runtime", "calibration", "export")


@pytest.fixture(scope="module")
def archive(wheel):
    with zipfile.ZipFile(wheel) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(archive):
    name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
    return message_from_bytes(archive.read(name))


def test_the_wheel_holds_every_module_and_nothing_else(archive):
    packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    held = [p for floor in FLOORS for p in (ROOT / floor).rglob("*") if p.suffix in (".py", ".html")]
    written = {f"edgeproof/{p.relative_to(ROOT)}" for p in held}
    package = {f"edgeproof/{path.name}" for path in (ROOT / "package").iterdir() if path.is_file()}
    assert {"edgeproof/__init__.py", "edgeproof/__main__.py", "edgeproof/py.typed"} <= package
    assert packed == written | package


def test_the_license_and_the_command_are_in_the_wheel(archive):
    names = " ".join(archive.namelist())
    assert "LICENSE" in names
    entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert b"edgeproof = edgeproof.export.cli:main" in archive.read(entry)


def test_a_device_is_never_made_to_install_an_onnxruntime(metadata):
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line)[0] for line in required} == {"numpy", "typer", "pillow"}


def test_python_3_10_is_enough(metadata):
    assert metadata["Requires-Python"] == ">=3.10"


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed(metadata):
    """Each requirement of the export, and of every device, is pinned to its lower bound."""
    command = [sys.executable, ROOT / "tests" / "lowest.py", "export"]
    pinned = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    bounds = dict(
        re.match(r"([\w-]+)(?:\[.*?\])?>=([\d.]+)", line).groups()
        for line in metadata.get_all("Requires-Dist")
        if ">=" in line.split(";")[0]
    )
    assert pinned
    for name, version in (line.split("===") for line in pinned):
        assert f"{version}.".startswith(f"{bounds[name]}."), name


def test_constraints_name_versions_only():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "a host, a path or an open version"
