import ctypes
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.device.libraries import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    broken_libraries,
    cuda_version,
    cudnn_version,
    needed_libraries,
    preload,
    tensorrt_version,
)
from edgeproof.runtime.providers.cpu import CPU

CAPI = Path(onnxruntime.__file__).parent / "capi"
TENSORRT = CAPI / TENSORRT_PROVIDER
CUDA = CAPI / CUDA_PROVIDER
CUDNN = ("libcudnn.so.9",)
gpu_build = pytest.mark.skipif(not TENSORRT.exists(), reason="this onnxruntime has no GPU providers")
shared_library = next(CAPI.glob("onnxruntime_pybind11_state*.so"))


def absent(*names):
    """A loader that has everything but some libraries."""

    def load(name):
        if any(name.startswith(start) for start in names):
            raise OSError(f"{name}: cannot open shared object file")
        return SimpleNamespace()

    return load


def number(value):
    """A version function that returns a number."""
    return lambda: value


@gpu_build
def test_the_libraries_of_a_provider_are_read_from_its_file():
    names = needed_libraries(TENSORRT)
    assert any(name.startswith("libnvinfer.so.") for name in names)
    assert "libc.so.6" in names


def test_a_library_that_asks_for_the_c_library_says_so():
    assert "libc.so.6" in needed_libraries(shared_library)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), b"#!/bin/sh\n"])
def test_a_file_that_is_no_such_library_is_refused(tmp_path, data):
    (tmp_path / "library.so").write_bytes(data)
    with pytest.raises(ValueError, match=r"ELF|empty"):
        needed_libraries(tmp_path / "library.so")


@given(st.integers(0, 4000))
def test_a_truncated_library_either_reads_or_is_refused(tmp_path_factory, length):
    file = tmp_path_factory.mktemp("cut") / "library.so"
    with shared_library.open("rb") as stream:
        file.write_bytes(stream.read(length))
    with suppress(ValueError):
        assert isinstance(needed_libraries(file), tuple)


@gpu_build
def test_every_missing_library_is_named_not_only_the_first():
    broken = broken_libraries(
        onnxruntime, CUDA_PROVIDER, CUDNN, absent("libcuda.so", "libcudnn", "libcublas.so")
    )
    assert {library.name.split(".")[0] for library in broken} == {"libcuda", "libcudnn", "libcublas"}
    assert all("cannot open" in library.reason for library in broken)


@gpu_build
@pytest.mark.parametrize("provider", [CUDA_PROVIDER, TENSORRT_PROVIDER])
def test_with_all_libraries_nothing_is_broken(provider):
    assert broken_libraries(onnxruntime, provider, load=absent()) == []


@gpu_build
def test_a_damaged_library_gives_the_loaders_own_reason(tmp_path):
    (tmp_path / "libnvinfer.so.10").write_bytes(b"\x7fELF rubbish")

    def load(name):
        return ctypes.CDLL(str(tmp_path / name)) if name.startswith("libnvinfer.so") else SimpleNamespace()

    (library,) = broken_libraries(onnxruntime, TENSORRT_PROVIDER, load=load)
    assert library.name.startswith("libnvinfer")
    assert "too short" in library.reason or "invalid ELF" in library.reason


def test_a_damaged_provider_is_told(tmp_path):
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / CUDA.name).write_bytes(b"rubbish")
    ort = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    (library,) = broken_libraries(ort, CUDA_PROVIDER, load=absent())
    assert library.name == CUDA.name


def test_the_cpu_needs_no_library():
    assert CPU.broken_libraries(onnxruntime, absent("lib")) == []


def test_a_provider_that_is_linked_in_needs_no_library(tmp_path):
    ort = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    assert broken_libraries(ort, CUDA_PROVIDER, CUDNN, absent("lib")) == []


@gpu_build
def test_tensorrt_of_a_pip_package_is_found(tmp_path, monkeypatch):
    (tmp_path / "tensorrt_libs").mkdir()
    (tmp_path / "tensorrt_libs" / "__init__.py").touch()
    for name in needed_libraries(TENSORRT):
        (tmp_path / "tensorrt_libs" / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt_libs", raising=False)
    assert broken_libraries(onnxruntime, TENSORRT_PROVIDER, load=absent("libnv")) == []


def test_preloading_prints_nothing(capsys):
    def preload_dlls():
        print("Failed to load libcublas.so.13")

    preload(SimpleNamespace(preload_dlls=preload_dlls))
    preload(SimpleNamespace())
    assert capsys.readouterr() == ("", "")


@gpu_build
def test_the_version_of_tensorrt_is_asked_of_the_library_itself():
    versions = {"libnvinfer.so.10": SimpleNamespace(getInferLibVersion=number(100300))}
    assert tensorrt_version(onnxruntime, versions.__getitem__) == (10, 3, 0)
    assert tensorrt_version(onnxruntime, absent("libnvinfer")) is None


@gpu_build
def test_the_version_of_cuda_is_asked_of_the_library_itself():
    def tell(pointer):
        pointer._obj.value = 12060
        return 0

    assert cuda_version(onnxruntime, lambda name: SimpleNamespace(cudaRuntimeGetVersion=tell)) == "12.6"
    assert cuda_version(onnxruntime, lambda name: SimpleNamespace(cudaRuntimeGetVersion=lambda _: 35)) == ""
    assert cuda_version(onnxruntime, absent("libcudart")) == ""


def test_the_version_of_cudnn_is_asked_of_the_library_itself():
    assert cudnn_version(lambda name: SimpleNamespace(cudnnGetVersion=number(90300))) == "9.3.0"
    assert cudnn_version(absent("libcudnn")) == ""
