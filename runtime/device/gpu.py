"""The GPUs of this machine, as NVIDIA's driver reports them; a Jetson may have no nvidia-smi."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, compute capability such as 8.7, and memory in bytes."""

    name: str
    capability: str
    memory: int


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        version: of the driver, such as 580.65.06; empty where the kernel does not tell.
        cuda: newest CUDA that it serves, such as 13.0; empty where it does not answer.
        gpus: what it drives.
        problem: why it cannot be used; empty when it can.
    """

    version: str
    cuda: str
    gpus: tuple[Gpu, ...]
    problem: str = ""


def read_driver(root: Path = Path("/"), load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Ask the driver for its version and its GPUs, or say why it cannot be used.

    Args:
        root: where the file system starts.
        load: opens a library by name; raises OSError when it cannot.
    """
    version = kernel_driver_version(root)
    try:
        library = load("libcuda.so.1")
    except OSError as error:
        return Driver(version, "", (), f"NVIDIA's driver cannot be loaded: {error}")
    status = library.cuInit(0)
    if status:
        return Driver(version, "", (), f"the driver does not start (CUDA error {status})")
    number = _integer(library.cuDriverGetVersion)
    gpus = tuple(_gpu(library, i) for i in range(_integer(library.cuDeviceGetCount)))
    problem = "" if gpus else "the driver finds no GPU"
    return Driver(version, f"{number // 1000}.{number % 1000 // 10}", gpus, problem)


def kernel_driver_version(root: Path) -> str:
    """Version of the driver in the running kernel; empty where there is none."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else ""


def _gpu(library: Any, index: int) -> Gpu:
    device = ctypes.c_int(_integer(library.cuDeviceGet, index))
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t()
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    major, minor = (_integer(library.cuDeviceGetAttribute, kind, device) for kind in (_MAJOR, _MINOR))
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", memory.value)


def _integer(function: Any, *arguments: Any) -> int:
    """The integer that a driver function writes to its first argument; 0 when it fails."""
    value = ctypes.c_int()
    return 0 if function(ctypes.byref(value), *arguments) else value.value
