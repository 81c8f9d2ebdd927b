"""The package `edgeproof` itself: its version, its command, and that it costs a device nothing."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

import edgeproof


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_the_version_is_that_of_the_installed_package():
    assert edgeproof.__version__ == version("edgeproof")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        edgeproof.nothing  # noqa: B018


def test_importing_it_imports_nothing_else():
    code = "import json, sys, edgeproof; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(python("-c", code)))
    assert not {"numpy", "typer", "PIL", "importlib.metadata", "edgeproof.runtime"} & loaded


@pytest.mark.parametrize("module", ["edgeproof", "edgeproof.export"])
def test_the_package_is_the_command(module):
    assert "Take a PyTorch vision model" in python("-m", module, "--help")


@pytest.mark.parametrize("floor", ["calibration", "export", "runtime"])
def test_a_floor_names_what_is_public_and_loads_it(floor):
    code = (
        f"import edgeproof.{floor} as floor\n"
        "names = getattr(floor, '__all__', [])\n"
        "assert names == sorted(names), names\n"
        "print([name for name in names if not callable(getattr(floor, name))])"
    )
    assert python("-c", code).strip() == "[]"
