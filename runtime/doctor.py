"""The doctor: what this machine has, what it lacks, and what to type for each lack."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from .cache import cache_folder
from .device import jetson
from .device.gpu import read_driver
from .device.libraries import BrokenLibrary, cuda_version, cudnn_version, tensorrt_version
from .device.remedies import DRIVER, remedy
from .errors import EdgeproofError, MissingDependency
from .providers.registry import PROVIDERS
from .session.session import Session, load_onnxruntime

State = Literal["ok", "missing", "note"]
# y = Relu(x) on a float tensor of shape (1, 1, 2, 2), serialized: any provider must run it.
RELU_MODEL = (
    b'\x08\x08:Q\n\x12\n\x01x\x12\x01y\x1a\x04relu"\x04Relu\x12\x01gZ\x1b\n\x01x\x12\x16\n\x14\x08\x01\x12\x10'
    b"\n\x02\x08\x01\n\x02\x08\x01\n\x02\x08\x02\n\x02\x08\x02b\x1b\n\x01y\x12\x16\n\x14\x08\x01\x12\x10\n\x02"
    b"\x08\x01\n\x02\x08\x01\n\x02\x08\x02\n\x02\x08\x02B\x04\n\x00\x10\x11"
)
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-qnn", "onnxruntime-openvino")
MIN_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        topic: what it is.
        state: ok; missing; or note, for what is worth knowing.
        value: what was found.
        todo: the line to type for what is missing; empty when there is nothing to do.
    """

    topic: str
    state: State
    value: str
    todo: str = ""


def examine(
    root: Path = jetson.ROOT,
    load: Callable[[str], Any] = ctypes.CDLL,
    onnxruntime: Callable[[Path], Any] = load_onnxruntime,
) -> list[Finding]:
    """Look at the machine. Never fails, whatever is missing.

    Args:
        root: where the file system starts.
        load: opens a shared library by name; raises OSError when it cannot.
        onnxruntime: gives the module; raises MissingDependency when there is none that can be loaded.
    """
    ort, absent = None, None
    try:
        ort = onnxruntime(root)
    except MissingDependency as error:
        absent = Finding(
            "ONNX Runtime", "missing", error.details["got"] or "not installed", error.details["to do"]
        )
    return [
        *_machine(root),
        *_gpus(root, load),
        *(_libraries(root, load, ort) if ort else ()),
        *([absent] if absent else _runtime(ort)),
        *(_providers(ort) if ort else ()),
        *_power(root),
        _disk(cache_folder()),
    ]


def text(findings: list[Finding]) -> str:
    """The findings as lines for people, each lack with what to type."""
    width = max(len(finding.topic) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        indented = finding.value.replace("\n", "\n" + " " * (width + 10))
        lines.append(f"{finding.state:<8}{finding.topic:<{width}}  {indented}".rstrip())
        lines += [f"{'':{width + 10}}to do: {line}" for line in finding.todo.splitlines()]
    return "\n".join(lines)


def _machine(root: Path) -> Iterator[Finding]:
    name = jetson.board(root) or platform.platform(terse=True)
    cores = os.cpu_count() or 1
    yield Finding(
        "machine", "ok", f"{name}, {platform.machine()}, {cores} cores, Python {sys.version.split()[0]}"
    )
    if not jetson.is_jetson(root):
        yield Finding("JetPack", "note", "not a Jetson")
        return
    jetpack, l4t = jetson.package_version("nvidia-jetpack", root), jetson.l4t_version(root)
    linux = f"Jetson Linux {l4t or 'of unknown version'}"
    if jetpack:
        yield Finding("JetPack", "ok", f"{jetpack}, {linux}")
    else:
        yield Finding("JetPack", "missing", f"{linux} alone", "sudo apt install nvidia-jetpack")


def _gpus(root: Path, load: Callable[[str], Any]) -> Iterator[Finding]:
    driver = read_driver(root, load)
    if driver.problem:
        todo = remedy(f"{DRIVER}.1", jetson=jetson.is_jetson(root))
        yield Finding("driver", "missing", driver.problem, todo)
        return
    known = driver.version or "of unknown version"
    yield Finding("driver", "ok", f"{known}, for CUDA up to {driver.cuda}")
    for i, gpu in enumerate(driver.gpus):
        memory = f"{gpu.memory / 2**30:.1f} GiB"
        yield Finding(f"GPU {i}", "ok", f"{gpu.name}, compute capability {gpu.capability}, {memory}")


def _libraries(root: Path, load: Callable[[str], Any], ort: Any) -> Iterator[Finding]:
    """CUDA, cuDNN and TensorRT, and every other library that cannot be loaded; `_gpus` tells of libcuda."""
    on_jetson = jetson.is_jetson(root)
    broken = {
        library.name: library
        for provider in PROVIDERS.values()
        for library in provider.broken_libraries(ort, load)
        if not library.name.startswith(DRIVER)
    }
    tensorrt = tensorrt_version(ort, load)
    found = {
        "libcudart.so": ("CUDA", cuda_version(ort, load)),
        "libcudnn.so": ("cuDNN", cudnn_version(load)),
        "libnvinfer.so": ("TensorRT", ".".join(map(str, tensorrt)) if tensorrt else ""),
    }
    for prefix, (topic, number) in found.items():
        if number:
            yield Finding(topic, "ok", number)
            continue
        own = [broken.pop(name) for name in list(broken) if name.startswith(prefix)]
        for library in own or [BrokenLibrary(prefix, "not found")]:
            yield Finding(topic, "missing", library.reason, remedy(library.missing, jetson=on_jetson))
    for library in broken.values():
        yield Finding(library.name, "missing", library.reason, remedy(library.missing, jetson=on_jetson))


def _runtime(ort: Any) -> Iterator[Finding]:
    build = getattr(ort, "get_build_info", str)()
    yield Finding("ONNX Runtime", "ok", f"{ort.__version__}, {build.removeprefix('ORT Build Info: ')}")
    installed = [f"{name} {number}" for name in WHEELS if (number := _package(name))]
    if len(installed) > 1:
        names = " ".join(entry.partition(" ")[0] for entry in installed)
        todo = f"pip uninstall {names}, then install the one that you need"
        yield Finding(
            "ONNX Runtime", "missing", f"several that overwrite each other: {', '.join(installed)}", todo
        )


def _providers(ort: Any) -> Iterator[Finding]:
    """Whether each provider really runs a model, whatever ONNX Runtime lists."""
    built = ort.get_available_providers()
    for provider in PROVIDERS:
        if PROVIDERS[provider].ort_name not in built:
            yield Finding(f"provider {provider}", "note", "not in this build of ONNX Runtime")
            continue
        try:
            Session(RELU_MODEL, provider=provider).close()
        except EdgeproofError as error:
            found = f"{error.message} {error.details['got']}".rstrip()
            lines = error.details["to do"].splitlines()
            todo = "\n".join(line for line in lines if not line.startswith("edgeproof doctor"))
            yield Finding(f"provider {provider}", "missing", found, todo)
        else:
            yield Finding(f"provider {provider}", "ok", "runs a model")


def _power(root: Path) -> Iterator[Finding]:
    mode = jetson.power_mode(root)
    if mode:
        fastest = jetson.fastest_mode(root)
        todo = (
            f"sudo nvpmodel -m {fastest.index}   ({fastest.name}: without a limit of power)"
            if fastest and fastest != mode
            else ""
        )
        yield Finding("power mode", "note", f"{mode.index} ({mode.name})", todo)
    for clock in jetson.clocks(root):
        value = f"{clock.now / 1e6:.0f} MHz, may move from {clock.least / 1e6:.0f} to {clock.most / 1e6:.0f}"
        if clock.fixed:
            yield Finding(f"clock {clock.name}", "ok", f"{clock.now / 1e6:.0f} MHz, fixed")
        elif mode:
            yield Finding(f"clock {clock.name}", "note", value, "sudo jetson_clocks   (for steady figures)")
        else:
            yield Finding(f"clock {clock.name}", "note", value)


def _disk(folder: Path) -> Finding:
    place = folder.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    value = f"{folder}: {free / 2**30:.1f} GiB free"
    if not os.access(place, os.W_OK):
        return Finding("cache", "missing", f"{folder} cannot be written", "export EDGEPROOF_CACHE=DIR")
    if free < MIN_FREE_BYTES:
        return Finding("cache", "missing", value, "make room there, or: export EDGEPROOF_CACHE=DIR")
    return Finding("cache", "ok", value)


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
