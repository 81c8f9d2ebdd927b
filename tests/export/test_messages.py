"""What a stranger types first, and what he is told: the table of bad experiences, a row a test."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from edgeproof.export import cli
from edgeproof.runtime import Bundle
from edgeproof.runtime.errors import EdgeproofError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Runs the command in an empty folder, and gives the error that it ends with."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(cli.build_app(), list(map(str, arguments)))
        assert isinstance(done.exception, EdgeproofError), done.output
        assert done.exception.exit_status == 2
        return str(done.exception)

    return run


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Runs the command in an empty folder, and gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(cli.build_app(), list(map(str, arguments)), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


# --- the command itself -------------------------------------------------------------------------------


def test_the_version(edgeproof):
    done = edgeproof("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"edgeproof \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("command", [(), ("run",), ("export",), ("quantize",)])
def test_help_by_its_short_name(typed, command):
    assert "Usage:" in typed(*command, "-h")


def test_the_shell_can_complete(typed):
    assert "--install-completion" in typed("--help")


def test_help_names_every_exit_status(edgeproof):
    shown = " ".join(edgeproof("--help").stdout.split())
    assert all(f"{status} " in shown for status in (0, 1, 2, 130, 141, 143))


# --- words that have capitals -------------------------------------------------------------------------


def test_options_take_capitals(typed, tiny_network):
    options = ("--precision", "FP16", "--target", "CPU", "--data", "Digits", "--evaluation", 20)
    assert "fp16" in typed("export", tiny_network, *options, "--out", "tiny")


@pytest.mark.parametrize("name", ["LeNet", "ResNet18", "MobileNet_V3"])
def test_names_of_networks_take_capitals(refused, name):
    """What is refused is the weights: the name was found."""
    assert "no weights file absent.pth" in refused("export", name, "--weights", "absent.pth")


def test_run_takes_json_and_capitals(edgeproof, tiny_bundle):
    picture = tiny_bundle.folder / tiny_bundle.manifest.pictures[0].file
    done = edgeproof("run", tiny_bundle.folder, picture, "--provider", "CPU", "--precision", "FP32", "--json")
    assert done.returncode == 0
    assert done.stdout.startswith('{"source"')
    done = edgeproof("run", tiny_bundle.folder, picture, "--json", "--csv")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_precision_alone_is_compared_with_fp32(typed, tiny_network, tmp_path):
    typed("export", tiny_network, "--precision", "fp16", "--out", "tiny")
    assert set(Bundle.open(tmp_path / "tiny").manifest.models) == {"fp32", "fp16"}


# --- files that are something else --------------------------------------------------------------------


def test_a_pickled_network_as_weights_is_refused_without_torchs_advice(refused, tiny_network, tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "whole.pth")
    message = refused("export", tiny_network, "--weights", "whole.pth")
    assert "a pickled object that needs torch.nn.modules" in message
    assert "weights_only" not in message


def test_an_empty_file_of_weights(refused, tiny_network, tmp_path):
    (tmp_path / "empty.pth").touch()
    assert "empty.pth is empty" in refused("export", tiny_network, "--weights", "empty.pth")


def test_a_file_of_python_without_a_factory_lists_what_it_has(refused, tiny_network):
    file, _, factory = tiny_network.rpartition(":")
    assert f"export {file}:{factory}" in refused("export", file)


# --- data ---------------------------------------------------------------------------------------------


def test_a_folder_given_as_data(refused, tmp_path):
    (tmp_path / "Photos").mkdir()
    assert "did you mean imagefolder:Photos?" in refused("export", "lenet", "--data", "Photos")


def test_a_folder_given_as_calibration(refused, tiny_bundle, tmp_path):
    (tmp_path / "photos").mkdir()
    options = ("--calibration", "photos", "--out", "int8.onnx")
    assert "images:photos" in refused("quantize", tiny_bundle.folder, *options)


def test_quantize_takes_the_word_of_export(refused, tiny_bundle, tmp_path):
    (tmp_path / "photos").mkdir()
    message = refused(
        "quantize", tiny_bundle.folder, "--calibration", "imagefolder:photos", "--out", "a.onnx"
    )
    assert "photos holds no pictures" in message


def test_sides_in_the_wrong_order(refused):
    assert "--input 3x32x32" in refused("export", "lenet", "--input", "32x32x3")


# --- bundles ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini"])
def test_a_bundle_that_a_file_browser_has_shown_still_opens(tiny_bundle, tmp_path, name):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "shown")
    (folder / name).touch()
    assert Bundle.open(folder).manifest.name == tiny_bundle.manifest.name


# --- make ---------------------------------------------------------------------------------------------


def test_make_run_takes_a_name_with_a_blank(tmp_path):
    (tmp_path / "a b.png").touch()
    command = [
        "make",
        "-C",
        ROOT,
        "run",
        "MODEL=lenet",
        f"SOURCE={tmp_path}/a b.png",
        "READY=",
        f"RUN={tmp_path}/",
    ]
    echo = tmp_path / "edgeproof"
    echo.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\n")
    echo.chmod(0o755)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"['run', 'artifacts/lenet', '{tmp_path}/a b.png']" in done.stdout
