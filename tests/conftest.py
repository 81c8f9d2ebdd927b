"""Fixtures that several floors share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

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
