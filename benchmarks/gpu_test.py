"""`make gpu-test` on a bare machine: what it lacks is carried in, or said with the lines to type.

    python3.12 benchmarks/gpu_test.py [--wheels DIR] [--bundle DIR] [--within S] [options of gpu.py]

Needs Linux on x86-64, an NVIDIA GPU and its driver, and a Python with pip, torch (whose packages bring CUDA
and cuDNN), numpy and onnx. Nothing is installed there, and no network is used: wheels in DIR, whole or cut
into pieces (NAME.whl.00, NAME.whl.01, ...), are unpacked into build/gpu-test, and the three floors are linked
there. Then gpu.py tests, proves and measures. Only the standard library is used here.

Exit status: that of gpu.py; 2 where something is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = ROOT / "build" / "gpu-test"
FLOORS = ("runtime", "calibration", "export")
GPU_WHEEL = "onnxruntime-gpu"
# Modules that gpu.py and the tests import, and the packages that bring them.
MODULES = {
    "torch": "torch",
    "numpy": "numpy",
    "onnx": "onnx",
    "PIL": "pillow",
    "typer": "typer",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
}
EXPORTING = (
    "torchvision",
    "onnxscript",
    "onnxsim",
    "rich",
    "safetensors",
    "sklearn",
    "tensorly",
    "matplotlib",
)
# The bundle that is made where none is named: random weights are as fast as others, and residual blocks with
# them still hold the proofs of an export, which those of MobileNetV2 do not.
MODEL = "resnet18"
EXPORT_OPTIONS = "--weights random --data digits --form standard --evaluation 32 --recover off"
EXPORT = f'make export MODEL={MODEL} OUT=gpu-bundle ARGS="{EXPORT_OPTIONS}"'
# Libraries that the CUDA provider of onnxruntime-gpu loads, and the packages that bring them: torch's own
# packages hold most of them.
LIBRARIES = {
    "libcudart.so.13": "nvidia-cuda-runtime",
    "libcublasLt.so.13": "nvidia-cublas",
    "libcublas.so.13": "nvidia-cublas",
    "libcurand.so.10": "nvidia-curand",
    "libcudnn.so.9": "nvidia-cudnn-cu13",
}
# What may be carried at once may be small.
CUT = (
    "for wheel in $(find wheels -name '*.whl' -size +60M); do",
    '    split --bytes=60M --numeric-suffixes "$wheel" "$wheel." && rm "$wheel"; done',
)
CARRIED = {"GPU_WHEELS": "wheels", "BUNDLE": "gpu-bundle"}
GRACE = 20  # seconds that gpu.py may take for what it has begun when its time is over

# Runs in a process that sees what was carried in.
PROBE = """
import ctypes, importlib.util, json, sys
sys.stdout, answer = sys.stderr, sys.stdout

def loads(name):
    try:
        return bool(ctypes.CDLL(name))
    except OSError:
        return False

modules, libraries = (names.split(",") for names in sys.argv[1:])
missing = [name for name in modules if importlib.util.find_spec(name) is None]
missing += [name for name in libraries if not loads(name)]
providers = []
try:
    import onnxruntime
    providers = onnxruntime.get_available_providers()
except ImportError as error:
    print(error)
from edgeproof.runtime.device.gpu import read_driver
json.dump({"missing": missing, "providers": providers, "driver": read_driver().problem}, answer)
"""


class Incomplete(Exception):
    """What was carried in cannot be used."""


@dataclass(frozen=True)
class Lack:
    """Something missing: what to type on a machine with a network, and the variable that names it here."""

    what: str
    elsewhere: tuple[str, ...] = ()
    here: str = ""


def main() -> None:
    """Prepare, say what is missing, or hand over to gpu.py."""
    start = time.monotonic()
    options, passed_on = parsed()
    try:
        environment = prepared(options.wheels, SCRATCH)
    except Incomplete as error:
        leave([Lack(str(error))], options)
    found = probe(environment)
    lacks = [*system_lacks(), *lacking(found, options.bundle)]
    if lacks:
        leave(lacks, options)
    if "torchvision" in found["missing"]:
        line = download(["torchvision"], alone=True)
        print(
            f"note: PyTorch's own network is left out: to compare with it, carry torchvision in\n    {line}",
            file=sys.stderr,
        )
    left = options.within - (time.monotonic() - start) - GRACE
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu.py"),
        "--within",
        f"{max(left, 1):.0f}",
        *passed_on,
    ]
    if options.bundle:
        command.append(str(options.bundle))
    done = subprocess.run(command, env=environment, cwd=ROOT)
    print(f"{time.monotonic() - start:.0f} s in all", file=sys.stderr)
    sys.exit(done.returncode)


def parsed() -> tuple[argparse.Namespace, list[str]]:
    """The command line, and what of it is gpu.py's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages that were carried in")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="a bundle, in place of one made here")
    parser.add_argument("--within", type=float, default=570.0, metavar="S", help="time for all (default 570)")
    options, passed_on = parser.parse_known_args()
    for folder in (options.wheels, options.bundle):
        if folder and not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    if options.bundle:
        options.bundle = options.bundle.resolve()
    return options, passed_on


def prepared(wheels: Path | None, scratch: Path) -> dict[str, str]:
    """Unpack the wheels and link the floors; returns the environment in which both are found.

    Raises:
        Incomplete: a wheel is damaged, or lacks a piece.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    site = scratch / "site"
    (site / "edgeproof").mkdir(parents=True)
    for floor in FLOORS:
        (site / "edgeproof" / floor).symlink_to(ROOT / floor)
    for path in (ROOT / "package").glob("*.py"):
        (site / "edgeproof" / path.name).symlink_to(path)
    if wheels:
        install(whole_wheels(wheels, scratch), site)
    libraries = [str(folder) for folder in library_folders(site)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")])),
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(
            os.pathsep
        ),
    }


def whole_wheels(wheels: Path, scratch: Path) -> list[Path]:
    """The wheels of a folder, joined from their pieces where they are cut.

    Raises:
        Incomplete: a piece is missing, or a wheel is no zip file.
    """
    found = sorted(wheels.glob("*.whl"))
    pieces: dict[str, list[Path]] = {}
    for path in sorted(wheels.glob("*.whl.[0-9][0-9]")):
        pieces.setdefault(path.stem, []).append(path)
    for name, parts in pieces.items():
        numbers = [int(part.suffix[1:]) for part in parts]
        if numbers != list(range(len(parts))):
            raise Incomplete(f"{name} lacks a piece: there are {', '.join(part.name for part in parts)}")
        with (scratch / name).open("wb") as joined:
            for part in parts:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, joined)
        found.append(scratch / name)
    for wheel in found:
        if not zipfile.is_zipfile(wheel):
            raise Incomplete(f"{wheel.name} is not a whole wheel: carry its last pieces too")
    return found


def install(wheels: Sequence[Path], site: Path) -> None:
    """Unpack wheels into a folder, and nothing else.

    Raises:
        Incomplete: pip refuses one, or is not there.
    """
    if not wheels:
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-compile", "--target", str(site), *map(str, wheels)]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Incomplete(f"The wheels cannot be unpacked: {done.stderr.strip()}")


def library_folders(site: Path) -> list[Path]:
    """Where CUDA and cuDNN are: in torch's packages, and in those that were carried in.

    ONNX Runtime itself looks beside its own folder only.
    """
    package = importlib.util.find_spec("nvidia")
    roots = [*(package.submodule_search_locations or ()), site / "nvidia"] if package else [site / "nvidia"]
    return sorted({folder for root in roots for folder in Path(root).glob("*/lib") if folder.is_dir()})


def probe(environment: Mapping[str, str]) -> dict[str, object]:
    """What a process with that environment finds."""
    command = [sys.executable, "-c", PROBE, ",".join([*MODULES, *EXPORTING]), ",".join(LIBRARIES)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def system_lacks() -> list[Lack]:
    """What no package can mend."""
    system = (platform.system(), platform.machine())
    return [] if system == ("Linux", "x86_64") else [Lack(f"Linux on x86-64: this is {' on '.join(system)}")]


def lacking(found: Mapping[str, object], bundle: Path | None) -> list[Lack]:
    """What a process there lacks."""
    lacks: list[Lack] = []
    missing = set(found["missing"])
    packages = [package for module, package in MODULES.items() if module in missing]
    libraries = dict.fromkeys(package for library, package in LIBRARIES.items() if library in missing)
    if found["driver"]:
        lacks.append(Lack(f"an NVIDIA GPU with its driver: {found['driver']}"))
    if "CUDAExecutionProvider" not in found["providers"]:
        lacks.append(
            Lack("an onnxruntime with the CUDA provider", (download([GPU_WHEEL], alone=True),), "GPU_WHEELS")
        )
    if libraries:
        what = f"libraries of CUDA: {', '.join(sorted(missing.intersection(LIBRARIES)))}"
        lacks.append(Lack(what, (download(list(libraries), alone=True),), "GPU_WHEELS"))
    if packages:
        lacks.append(Lack(f"packages: {', '.join(packages)}", (download(packages),), "GPU_WHEELS"))
    absent = sorted(missing.intersection(EXPORTING))
    if absent and not bundle:
        lacks.append(Lack(f"a bundle, which cannot be made without {', '.join(absent)}", (EXPORT,), "BUNDLE"))
    return lacks


def download(packages: Sequence[str], alone: bool = False) -> str:
    """The line that downloads packages for this Python, in tested versions; alone: without what they need."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    pinned = " ".join(f"{name}{pin(name)}" for name in packages)
    options = f"{'--no-deps ' if alone else ''}--only-binary=:all: --python-version {version} --dest wheels"
    return f"python3 -m pip download {options} {pinned}"


def pin(package: str) -> str:
    """Such as ==1.31.1, from constraints.txt; empty where it is not there."""
    found = re.search(rf"^{re.escape(package)}(==\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return found[1] if found else ""


def leave(lacks: Sequence[Lack], options: argparse.Namespace) -> None:
    """Say all that is missing, and end with exit status 2."""
    print("error: Nothing can be measured on a GPU here. Missing:", file=sys.stderr)
    for lack in lacks:
        print(f"  - {lack.what}", file=sys.stderr)
    lines = [line for lack in lacks for line in lack.elsewhere]
    if lines:
        print("On a Linux x86-64 machine with a package index, in this repository:", file=sys.stderr)
        carried = {lack.here: folder for lack in lacks if (folder := CARRIED.get(lack.here))}
        lines += CUT if "GPU_WHEELS" in carried else ()
        print(*(f"    {line}" for line in lines), sep="\n", file=sys.stderr)
        given = {"GPU_WHEELS": options.wheels, "BUNDLE": options.bundle}
        print(
            f"Carry {' and '.join(carried.values())} here, then, with all that is carried:", file=sys.stderr
        )
        words = [f"{name}={folder}" for name, folder in {**given, **carried}.items() if folder]
        print("   ", "make gpu-test", *words, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
