"""benchmarks/gpu_test.py: what prepares a bare machine, on one that has no GPU."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import onnxruntime
import pytest

from edgeproof.runtime.device.gpu import read_driver
from edgeproof.runtime.device.libraries import needed_libraries

ROOT = Path(__file__).resolve().parents[2]
PROVIDER = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
ALL_THERE = {"missing": [], "providers": ["CUDAExecutionProvider"], "driver": ""}


@pytest.fixture
def gpu_test(script):
    return script("benchmarks/gpu_test.py")


@pytest.fixture
def wheel(tmp_path):
    """A package `carried` of version 1.0, as a wheel."""
    path = tmp_path / "carried-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carried.py", "value = 42\n")
        info = "carried-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def cut(wheel, tmp_path):
    """A folder with that wheel in pieces."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    data = wheel.read_bytes()
    for i, start in enumerate(range(0, len(data), 100)):
        (folder / f"{wheel.name}.{i:02d}").write_bytes(data[start : start + 100])
    return folder


def options(**given):
    return types.SimpleNamespace(**{"wheels": None, "bundle": None, "within": 60.0, **given})


def test_pieces_are_joined_bit_for_bit(gpu_test, wheel, cut, tmp_path):
    (joined,) = gpu_test.whole_wheels(cut, tmp_path / "wheels")
    assert joined.read_bytes() == wheel.read_bytes()
    assert len(list(cut.glob("*.whl.*"))) > 3


@pytest.mark.parametrize("lost", ["00", "02", "last"])
def test_a_wheel_that_lacks_a_piece_is_refused(gpu_test, cut, tmp_path, lost):
    pieces = sorted(cut.glob("*.whl.*"))
    (pieces[-1] if lost == "last" else pieces[int(lost)]).unlink()
    with pytest.raises(gpu_test.Incomplete, match=r"lacks a piece|last pieces"):
        gpu_test.whole_wheels(cut, tmp_path)


def test_what_is_carried_in_and_the_floors_are_found_by_a_process_there(gpu_test, cut, tmp_path):
    environment = gpu_test.prepared(cut, tmp_path / "scratch")
    code = (
        "import carried, edgeproof as e, edgeproof.runtime as r; print(carried.value, e.__file__, r.__file__)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    value, package, file = done.stdout.split()
    assert value == "42"
    assert Path(package).is_relative_to(tmp_path)
    assert Path(file).resolve() == ROOT / "runtime" / "__init__.py"
    with pytest.raises(ImportError):
        importlib.import_module("carried")


def test_libraries_that_are_carried_in_are_on_the_path(gpu_test, tmp_path):
    (tmp_path / "nvidia" / "cu13" / "lib").mkdir(parents=True)
    assert tmp_path / "nvidia" / "cu13" / "lib" in gpu_test.library_folders(tmp_path)


def test_a_wheel_that_pip_refuses_is_told(gpu_test, tmp_path):
    with zipfile.ZipFile(tmp_path / "other-1.0-cp27-cp27m-win32.whl", "w") as archive:
        archive.writestr("other.py", "")
    with pytest.raises(gpu_test.Incomplete, match=r"cannot be unpacked.*not a supported wheel"):
        gpu_test.prepared(tmp_path, tmp_path / "scratch")


def test_where_all_is_there_nothing_is_lacking(gpu_test):
    assert gpu_test.lacking(ALL_THERE, None) == []


@pytest.mark.parametrize(
    ("change", "what", "line"),
    [
        ({"driver": "libcuda.so.1 cannot be loaded"}, "an NVIDIA GPU", None),
        (
            {"providers": ["CPUExecutionProvider"]},
            "CUDA provider",
            "pip download --no-deps .* onnxruntime-gpu==",
        ),
        ({"missing": ["libcurand.so.10"]}, "libcurand.so.10", "pip download --no-deps .* nvidia-curand=="),
        ({"missing": ["PIL", "pytest"]}, "pillow, pytest", "pip download --only.* pillow==.* pytest=="),
        ({"missing": ["onnxscript"]}, "without onnxscript", "make export MODEL=.* OUT=gpu-bundle "),
    ],
)
def test_each_lack_is_told_with_what_to_type(gpu_test, capsys, change, what, line):
    lacks = gpu_test.lacking({**ALL_THERE, **change}, None)
    with pytest.raises(SystemExit) as left:
        gpu_test.leave(lacks, options())
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert what in told
    assert ("make gpu-test " in told) == bool(line)
    if line:
        assert re.search(line, told)


def test_a_bundle_that_is_given_need_not_be_made(gpu_test, tmp_path):
    assert gpu_test.lacking({**ALL_THERE, "missing": ["onnxscript", "torchvision"]}, tmp_path) == []


def test_what_was_given_is_in_the_line_to_type(gpu_test, capsys):
    lacks = gpu_test.lacking({**ALL_THERE, "missing": ["onnxscript"]}, None)
    with pytest.raises(SystemExit):
        gpu_test.leave(lacks, options(wheels=Path("elsewhere")))
    assert "make gpu-test GPU_WHEELS=elsewhere BUNDLE=gpu-bundle" in capsys.readouterr().err


def test_every_package_to_download_has_a_tested_version(gpu_test):
    packages = {gpu_test.GPU_WHEEL, *gpu_test.MODULES.values(), *gpu_test.LIBRARIES.values()}
    assert not [name for name in packages if not gpu_test.pin(name).startswith("==")]


def test_the_shell_lines_are_whole(gpu_test):
    lines = [gpu_test.EXPORT, *gpu_test.CUT, gpu_test.download(["numpy"])]
    subprocess.run(["bash", "-n", "-c", "\n".join(lines)], check=True)


def test_a_wheel_is_cut_by_the_line_that_is_told_and_joined_again(gpu_test, tmp_path):
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "big-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("big.bin", os.urandom(300_000))
    data = (tmp_path / "wheels" / "big-1.0-py3-none-any.whl").read_bytes()
    script = "\n".join(gpu_test.CUT).replace("60M", "100k")
    subprocess.run(["bash", "-c", script], check=True, cwd=tmp_path)
    assert len(list((tmp_path / "wheels").iterdir())) == 3
    (joined,) = gpu_test.whole_wheels(tmp_path / "wheels", tmp_path)
    assert joined.read_bytes() == data


@pytest.mark.skipif(not PROVIDER.exists(), reason="this onnxruntime has no GPU providers")
def test_the_libraries_that_are_looked_for_are_those_of_the_provider(gpu_test):
    system = (
        "libcuda.so",
        "libc.so",
        "libm.so",
        "libdl",
        "librt",
        "libpthread",
        "libstdc++",
        "libgcc_s",
        "ld-linux",
    )
    asked = {name for name in needed_libraries(PROVIDER) if not name.startswith(system)}
    assert asked | {"libcudnn.so.9"} == set(gpu_test.LIBRARIES)


def test_the_measuring_is_given_the_time_that_is_left(gpu_test, monkeypatch, tmp_path):
    seen = []

    def run(command, **settings):
        seen.append((command, settings["env"]["MARK"]))
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(gpu_test, "prepared", lambda wheels, scratch: {"MARK": "there"})
    monkeypatch.setattr(gpu_test, "probe", lambda environment: ALL_THERE)
    monkeypatch.setattr(gpu_test.subprocess, "run", run)
    arguments = ["--bundle", str(tmp_path), "--within", "100", "--write", "gpu.md", "--batch", "1,4"]
    monkeypatch.setattr(sys, "argv", ["gpu_test.py", *arguments])
    with pytest.raises(SystemExit) as left:
        gpu_test.main()
    assert left.value.code == 1
    ((command, mark),) = seen
    assert mark == "there"
    assert Path(command[1]).name == "gpu.py"
    assert 70 < float(command[command.index("--within") + 1]) <= 80
    assert command[-1] == str(tmp_path)
    assert command[4:8] == ["--write", "gpu.md", "--batch", "1,4"]


@pytest.mark.skipif(not read_driver().problem, reason="this machine has a GPU")
def test_make_gpu_test_needs_no_environment_and_says_what_is_missing(tmp_path):
    done = subprocess.run(
        ["make", "gpu-test", f"PYTHON={shlex.quote(sys.executable)}", f"VENV={tmp_path / 'none'}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "Missing:\n  - an NVIDIA GPU with its driver: " in done.stderr
    assert not (tmp_path / "none").exists()
