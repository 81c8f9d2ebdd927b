"""The shared libraries that an execution provider needs: loads them, and names each that cannot be loaded.

ONNX Runtime names only the first missing library, on stderr, and goes on without the provider. Here the
list of needed libraries is read from the provider's ELF file, and each is loaded. The provider itself is
not loaded: ONNX Runtime must do that.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import mmap
import re
import struct
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"
TENSORRT_PROVIDER = "libonnxruntime_providers_tensorrt.so"

Loader = Callable[[str], Any]

_NOT_THERE = re.compile(r"(lib[\w.+-]+?\.so[\d.]*): cannot open shared object file")
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


@dataclass(frozen=True)
class BrokenLibrary:
    """A library that cannot be loaded, and the loader's reason."""

    name: str
    reason: str

    @property
    def missing(self) -> str:
        """The library that is not there: this one, or one that it asks for itself, as the loader names it."""
        found = _NOT_THERE.match(self.reason)
        return found[1] if found else self.name


def broken_libraries(
    ort: Any, provider_file: str, opened_later: Sequence[str] = (), load: Loader = ctypes.CDLL
) -> list[BrokenLibrary]:
    """Load what a provider needs and return what cannot be loaded.

    Args:
        ort: the onnxruntime module.
        provider_file: name of the provider's own library, which lists what it needs.
        opened_later: libraries that it opens at their first use, and so does not list.
        load: opens a library by name or path; raises OSError when it cannot.
    """
    file = _beside(ort, provider_file)
    if not file.is_file():  # a build in which the provider is linked in, not loaded
        return []
    preload(ort)
    try:
        names = needed_libraries(file)
    except ValueError as error:
        return [BrokenLibrary(file.name, str(error))]
    broken = []
    for name in (*names, *opened_later):
        if (file.parent / name).exists():
            continue
        try:
            _load_anywhere(name, load)
        except OSError as error:
            broken.append(BrokenLibrary(name, str(error)))
    return broken


def preload(ort: Any) -> None:
    """Load CUDA and cuDNN from pip packages where they are installed; what is not is found out later.

    ONNX Runtime prints what it misses to stdout, where a program's results go.
    """
    if not hasattr(ort, "preload_dlls"):
        return
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ort.preload_dlls()


def needed_libraries(file: Path) -> tuple[str, ...]:
    """Names of the libraries that a shared library asks for (DT_NEEDED), in its order.

    Raises:
        ValueError: the file is not a whole 64-bit little-endian ELF library.
    """
    with file.open("rb") as stream:
        try:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("the file is empty") from None
        with data:
            if data[:6] != b"\x7fELF\x02\x01":
                raise ValueError("not a 64-bit little-endian ELF library")
            try:
                return _needed(data)
            except (struct.error, IndexError, UnicodeDecodeError) as error:
                raise ValueError(f"a damaged ELF library: {error}") from None


def tensorrt_version(ort: Any, load: Loader = ctypes.CDLL) -> tuple[int, int, int] | None:
    """Version of the TensorRT that ONNX Runtime's provider is linked to; None where there is none."""
    number = _answer(_linked(ort, TENSORRT_PROVIDER, "libnvinfer.so"), "getInferLibVersion", load)
    return (number // 10_000, number // 100 % 100, number % 100) if number else None


def cuda_version(ort: Any, load: Loader = ctypes.CDLL) -> str:
    """Version of the CUDA runtime that ONNX Runtime uses, such as 12.6; empty where there is none."""
    number = ctypes.c_int()
    try:
        failed = _load_anywhere(_linked(ort, CUDA_PROVIDER, "libcudart.so"), load).cudaRuntimeGetVersion(
            ctypes.byref(number)
        )
    except (OSError, AttributeError):
        return ""
    return "" if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"


def cudnn_version(load: Loader = ctypes.CDLL) -> str:
    """Version of cuDNN 9, such as 9.3.0; empty where there is none."""
    number = _answer("libcudnn.so.9", "cudnnGetVersion", load)
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}" if number else ""


def _beside(ort: Any, provider_file: str) -> Path:
    return Path(ort.__file__).parent / "capi" / provider_file


def _linked(ort: Any, provider_file: str, prefix: str) -> str:
    """Full name of a library that a provider is linked to; the bare prefix where it cannot be read."""
    try:
        names = needed_libraries(_beside(ort, provider_file))
    except (OSError, ValueError):
        return prefix
    return next((name for name in names if name.startswith(prefix)), prefix)


def _answer(library: str, function: str, load: Loader) -> int:
    """What a version function without arguments returns; 0 where it cannot be asked."""
    try:
        ask = getattr(_load_anywhere(library, load), function)
    except (OSError, AttributeError):
        return 0
    ask.restype = ctypes.c_size_t
    return int(ask())


def _load_anywhere(name: str, load: Loader) -> Any:
    """Load a library from where the system looks, else from NVIDIA's pip package of TensorRT."""
    try:
        return load(name)
    except OSError:
        package = find_spec("tensorrt_libs")
        for folder in (package.submodule_search_locations or ()) if package else ():
            if (Path(folder) / name).exists():
                return load(str(Path(folder) / name))
        raise


def _needed(data: mmap.mmap) -> tuple[str, ...]:
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads: list[tuple[int, int, int]] = []
    dynamic: tuple[int, int] | None = None
    for i in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, table + i * size)
        if kind == _PT_LOAD:
            loads.append((address, offset, length))
        elif kind == _PT_DYNAMIC:
            dynamic = (offset, length)
    if dynamic is None:
        return ()
    names: list[int] = []
    strings = 0
    for position in range(dynamic[0], sum(dynamic), 16):
        tag, value = struct.unpack_from("<qQ", data, position)
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            names.append(value)
        elif tag == _DT_STRTAB:
            strings = next((value - a + o for a, o, n in loads if a <= value < a + n), 0)
    return tuple(data[strings + name : data.find(b"\0", strings + name)].decode() for name in names)
