"""The child process by itself: what it answers where there is no compiler to ask."""

import sys

import pytest

from edgeproof.calibration.preflight import compiler

JOB = {"capabilities": ["86"], "profile": {}}


@pytest.fixture
def package(monkeypatch, tmp_path):
    """Puts a package with this text in the compiler's place."""

    def package(text: str) -> None:
        (tmp_path / "pretended_compiler.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pretended_compiler", raising=False)
        monkeypatch.setattr(compiler, "PACKAGE", "pretended_compiler")

    return package


def test_a_package_that_is_not_installed_is_absent(monkeypatch):
    monkeypatch.setattr(compiler, "PACKAGE", "edgeproof_knows_no_such_package")
    assert list(compiler.answer(JOB)) == ["absent"]


@pytest.mark.parametrize(
    "text", ["raise OSError('libnvinfer.so: no such file')", "import edgeproof_knows_no_such_package"]
)
def test_a_package_that_does_not_load_is_broken(package, text):
    package(text)
    assert list(compiler.answer(JOB)) == ["broken"]


def test_a_capability_that_the_compiler_does_not_name_is_answered_with_those_that_it_does(package):
    package(
        "__version__ = '9'\n"
        "class ComputeCapability:\n    __members__ = {'NONE': 0, 'CURRENT': 1, 'SM86': 2, 'SM120': 3}\n"
    )
    found = compiler.answer({"capabilities": ["86", "87"], "profile": {}})
    assert found == {"compiler": "tensorrt-rtx 9", "available": ["86", "120"]}
