"""Fixtures that several floors share; and for every test no network, a time limit, artifacts/ left alone."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("runtime", "calibration", "export")
SLOW_TEST_SECONDS = 1800  # a test that is not marked slow has the limit of pyproject.toml

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TINY_NETWORK = '''
import torch
from torch import nn


class Tiny(nn.Module):
    """Convolution, batch norm, a residual, hard-swish and a classifier, small enough to train in a second."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.reduce = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.classifier = nn.Linear(32 * 16, num_classes)

    def forward(self, x):
        x = self.stem(x)
        x = self.reduce(x + self.block(x))
        x = nn.functional.adaptive_avg_pool2d(x, 4)
        return self.classifier(torch.flatten(x, 1))


def tiny(num_classes=10):
    return Tiny(num_classes)
'''


def pytest_configure() -> None:
    """What was given to the `make` that runs the tests is not meant for those that they start."""
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests have a larger time limit, which their own mark `timeout` overrules."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TEST_SECONDS))


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Imports a script of this repository, named by its path, as its own neighbours would."""

    def load(path: str) -> ModuleType:
        file = ROOT / path
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(file.parent))
            module = importlib.import_module(file.stem)
        assert module.__file__ == str(file), f"{path} has the name of {module.__file__}"
        return module

    return load


@pytest.fixture(scope="session")
def connections() -> Iterator[list[str]]:
    """Hosts other than this machine that were asked for; a socket refuses to connect to them."""
    asked: list[str] = []

    def guard(method: Callable) -> Callable:
        def connect(self: socket.socket, address: object, *rest: object) -> object:
            host = address[0] if isinstance(address, tuple) else None  # a Unix socket's address is a path
            if isinstance(host, str) and host not in ("localhost", "::1") and not host.startswith("127."):
                asked.append(host)
                raise PermissionError(f"a test needs no network, and this one connects to {address}")
            return method(self, address, *rest)

        return connect

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guard(getattr(socket.socket, name)))
        yield asked


@pytest.fixture(autouse=True)
def no_network(connections: list[str]) -> Iterator[None]:
    """Fail the test that asked for another host, even where the program survived the refusal."""
    yield
    asked, connections[:] = list(connections), []
    assert not asked, f"connects to {asked}: a test needs no network"


@pytest.fixture(scope="module", autouse=True)
def artifacts_left_alone() -> Iterator[None]:
    """Fail a file of tests that writes into the developer's own exports."""

    def written() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (ROOT / "artifacts").rglob("*")}

    before = written()
    yield
    assert written() == before, "a test wrote into artifacts/"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built by this interpreter from a copy: nothing is installed or left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*FLOORS, "package"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """A cache of this test run's own, unless the caller chose one: nothing earlier can hide a fault."""
    chosen = os.environ.get("EDGEPROOF_CACHE")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("cache")
    os.environ["EDGEPROOF_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def edgeproof():
    """Run the command in a process of its own: edgeproof(*arguments, cwd=..., env=...)."""

    def run(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **options.pop("env", {})}
        command = [sys.executable, "-m", "edgeproof.export", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, **options)

    return run


@pytest.fixture(scope="session")
def tiny_network(tmp_path_factory) -> str:
    """A user's own network, as `file.py:factory`."""
    file = tmp_path_factory.mktemp("network") / "tiny_network.py"
    file.write_text(TINY_NETWORK)
    return f"{file}:tiny"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real weights and photographs, in $EDGEPROOF_TEST_DATA or beside the checkout in ../shared/data."""
    folder = Path(os.environ.get("EDGEPROOF_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real weights and photographs are not at {folder}")
    return folder
