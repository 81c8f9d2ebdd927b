"""Memory in use: this process's, and a GPU's."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def resident_bytes(root: Path = Path("/")) -> int | None:
    """Physical memory that this process holds; None where the kernel does not tell (Linux does)."""
    try:
        status = (root / "proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else None


def gpu_bytes_used(index: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> int | None:
    """Memory of a GPU that all processes use; None where the driver does not tell.

    A Jetson's GPU has no memory of its own: there it is the board's. The call itself needs an empty CUDA
    context, which is always counted, and so cancels out in the difference of two calls.

    Args:
        index: which GPU.
        load: opens a library by name; raises OSError when it cannot.
    """
    try:
        driver = load("libcuda.so.1")
    except OSError:
        return None
    device, context = ctypes.c_int(), ctypes.c_void_p()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), index):
        return None
    if driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        return _used(driver, context)
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)


def _used(driver: Any, context: ctypes.c_void_p) -> int | None:
    if driver.cuCtxPushCurrent_v2(context):
        return None
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    failed = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    driver.cuCtxPopCurrent_v2(ctypes.byref(context))
    return None if failed else total.value - free.value
