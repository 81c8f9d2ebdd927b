"""What is in the wheel, and what it asks a device to install."""

import re
import subprocess
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("runtime", "calibration", "export")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(["make", "wheel", f"DIST={folder}"], check=True, capture_output=True, cwd=ROOT)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    written = {f"edgeproof/{p.relative_to(ROOT)}" for floor in FLOORS for p in (ROOT / floor).rglob("*.py")}
    package = {f"edgeproof/{path.name}" for path in (ROOT / "edgeproof").iterdir() if path.is_file()}
    assert {"edgeproof/__init__.py", "edgeproof/__main__.py", "edgeproof/py.typed"} <= package
    assert packed == written | package


def test_the_license_and_the_command_are_in_the_wheel(wheel):
    names = " ".join(wheel.namelist())
    assert "LICENSE" in names
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"edgeproof = edgeproof.export.cli:main" in wheel.read(entry)


def test_a_device_is_never_made_to_install_an_onnxruntime(metadata):
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.match(r"[\w-]+", line)[0] for line in required} == {"numpy", "typer", "pillow"}


def test_python_3_10_is_enough(metadata):
    assert metadata["Requires-Python"] == ">=3.10"


def test_constraints_name_versions_only():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "a host, a path or an open version"
