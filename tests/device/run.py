"""The device side, proven on bare Pythons: as on JetPack 6, and with the newest packages.

    python tests/device/run.py

Builds the wheel, exports a small network, and makes two environments with nothing but numpy, typer, Pillow
and an onnxruntime: the lowest supported ones with onnxruntime 1.23.2 on Python 3.10, the newest on 3.13. In
each it verifies the bundle and labels pictures, which must get PyTorch's labels. Needs both Pythons and a
package index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgeproof.calibration.preflight.handed_over import lost_quantization
from edgeproof.calibration.progress import Progress
from edgeproof.export.data import catalog
from edgeproof.export.pretrained.weights import from_demo
from edgeproof.export.sources import registry
from edgeproof.export.training.trainer import predict

ROOT = Path(__file__).resolve().parents[2]
MODEL = "mobilenet_v3_small"
PICTURES = 12
FORBIDDEN = ("torch", "torchvision", "onnx", "onnxsim", "onnxscript", "safetensors", "sklearn")


@dataclass(frozen=True)
class Platform:
    """A Python and the packages of a device.

    Attributes:
        python: its version, such as "3.10".
        packages: what is installed beside the wheel; the wheel's own requirements are met by the newest.
        runs_int8: whether this onnxruntime computes INT8 beside float16 on the CPU as it should.
    """

    python: str
    packages: tuple[str, ...]
    runs_int8: bool


PLATFORMS = (
    Platform("3.10", ("numpy==1.26.0", "typer==0.16.0", "pillow==10.3.0", "onnxruntime==1.23.2"), False),
    Platform("3.13", ("onnxruntime",), True),
)


def main() -> None:
    """Prepare once, run every check on every platform, print one line each and the totals."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shell(["make", "--directory", str(ROOT), "wheel", f"DIST={folder}"])
        bundle, pictures = folder / "bundle", folder / "pictures"
        shell([sys.executable, "-m", "edgeproof.export", "export", MODEL, "--out", str(bundle)])
        labels = save_pictures(pictures)
        devices = [Device(make_environment(folder, one), bundle, pictures, labels, one) for one in PLATFORMS]
        checks = [
            has_no_training_packages,
            imports,
            verifies,
            labels_as_pytorch,
            hands_tensorrt_every_pair,
            says_what_export_needs,
        ]
        results = [passes(check, device) for device in devices for check in checks]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    sys.exit(not all(results))


@dataclass(frozen=True)
class Device:
    """A bare environment with the wheel, a bundle, and pictures with PyTorch's labels."""

    python: Path
    bundle: Path
    pictures: Path
    labels: list[str]
    platform: Platform

    def edgeproof(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command there, away from the repository."""
        command = [str(self.python.with_name("edgeproof")), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.bundle.parent)


def make_environment(folder: Path, platform: Platform) -> Path:
    """The wheel and the platform's packages in a new environment; returns its interpreter."""
    wheel, environment = next(folder.glob("edgeproof-*.whl")), folder / platform.python
    shell([str(find_python(platform.python)), "-m", "venv", str(environment)])
    python = environment / "bin" / "python"
    shell([str(python), "-m", "pip", "install", "--quiet", *platform.packages, str(wheel)])
    return python


def find_python(version: str) -> Path:
    """A Python of that version that starts: from the path, else one that pyenv has installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    installed = sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    for candidate in filter(None, [shutil.which(f"python{version}"), *installed]):
        done = subprocess.run([str(candidate), "-c", "import venv"], capture_output=True)
        if done.returncode == 0:
            return Path(candidate)
    ways = f"pyenv install {version}, or apt-get install python{version}-venv"
    sys.exit(f"no Python {version} found: install one ({ways})")


def save_pictures(folder: Path) -> list[str]:
    """Save held-out digits as PNG and return the labels that PyTorch gives them."""
    folder.mkdir()
    spec, data = registry.find(MODEL), catalog.find("digits")
    variant = spec.variant_for(small_data=True)
    preprocess = data.preprocess(variant.input_shape)
    chosen = data.evaluation.take(np.arange(PICTURES))
    for i in range(PICTURES):
        chosen.load(i).save(folder / f"{i:02d}.png")
    network = from_demo(spec, variant, data, preprocess, Progress(quiet=True)).network
    return [data.labels[i] for i in predict(network, chosen.tensor(preprocess)).argmax(axis=1)]


def has_no_training_packages(device: Device) -> None:
    """The environment holds nothing that a device would not."""
    code = f"from importlib.util import find_spec; print([n for n in {FORBIDDEN!r} if find_spec(n)])"
    done = subprocess.run([str(device.python), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


def imports(device: Device) -> None:
    """The ground floor imports on this Python."""
    version = tuple(map(int, device.platform.python.split(".")))
    code = f"import sys, edgeproof.runtime as r; assert sys.version_info[:2] == {version}; r.Runner.open"
    subprocess.run([str(device.python), "-c", code], check=True, cwd=device.bundle.parent)


def verifies(device: Device) -> None:
    """Every precision reproduces PyTorch's golden answers; INT8 is left out where it would be truncated."""
    done = device.edgeproof("verify", str(device.bundle), "--json")
    assert done.returncode == 0, done.stderr
    replayed = ["fp32", "fp16", *(["int8"] if device.platform.runs_int8 else [])]
    found = {name: result["passed"] for name, result in json.loads(done.stdout).items()}
    assert found == dict.fromkeys(replayed, True)
    if not device.platform.runs_int8:
        assert "int8: not replayed" in done.stderr, done.stderr
        refused = device.edgeproof("verify", str(device.bundle), "--precision", "int8")
        assert refused.returncode == 1
        assert "truncates float16" in refused.stderr, refused.stderr


def labels_as_pytorch(device: Device) -> None:
    """Pictures get the labels that PyTorch gives them."""
    done = device.edgeproof("run", str(device.bundle), str(device.pictures), "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["top"][0]["label"] for line in done.stdout.splitlines()]
    assert found == device.labels, (found, device.labels)


def hands_tensorrt_every_pair(device: Device) -> None:
    """This ONNX Runtime loses no Q/DQ pair before TensorRT sees the graph, and keeps weights int8."""
    model, rewritten = device.bundle / "model.int8.onnx", device.bundle.with_name("handed_over.onnx")
    code = (
        "import sys, pathlib, onnxruntime; from edgeproof.runtime.session.options import handed_over; "
        "data = pathlib.Path(sys.argv[1]).read_bytes(); "
        "pathlib.Path(sys.argv[2]).write_bytes(handed_over(onnxruntime, data))"
    )
    subprocess.run([str(device.python), "-c", code, str(model), str(rewritten)], check=True)
    lost = lost_quantization(onnx.load(model), onnx.load(rewritten))
    assert not lost, lost


def says_what_export_needs(device: Device) -> None:
    """A command of the top floor names the extra to install."""
    done = device.edgeproof("export", MODEL)
    assert done.returncode == 2
    assert 'pip install "edgeproof[export]"' in done.stderr, done.stderr


def passes(check: Callable[[Device], None], device: Device) -> bool:
    """Run one check and print its outcome."""
    try:
        check(device)
    except (AssertionError, subprocess.CalledProcessError) as error:
        print(f"FAILED {check.__name__} on Python {device.platform.python}: {error}")
        return False
    print(f"ok     {check.__name__} on Python {device.platform.python}")
    return True


def shell(command: list[str]) -> None:
    """Run a command whose output only matters when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
