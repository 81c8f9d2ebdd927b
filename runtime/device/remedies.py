"""What to type for what a machine lacks; on a Jetson always JetPack's own packages, never PyPI's."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingDependency, gist
from . import jetson

DRIVER = "libcuda.so"
# JetPack 6 builds OpenCV, and its community onnxruntime-gpu, for NumPy 1: onnxruntime issue 27562.
OLD_NUMPY = 'pip install "numpy<2"   (JetPack 6 has both OpenCV and onnxruntime built for NumPy 1)'
# JetPack's packages are those of NVIDIA's "JetPack SDK Setup"; nvidia-l4t-* belong to Jetson Linux.
JETPACK_LIBRARIES = {
    DRIVER: "sudo apt install nvidia-l4t-cuda   (in a container: docker run --runtime nvidia ...)",
    "libnvdla_compiler.so": "sudo apt install nvidia-l4t-dla-compiler   (in a container: on the board, and "
    "docker run --runtime nvidia ...; JetPack 7.2 has none: take an image with its own TensorRT)",
    "libcudnn": "sudo apt install nvidia-cudnn",
    **dict.fromkeys(
        ("libcudart", "libcublas", "libcufft", "libcurand", "libcusparse", "libcusolver", "libnvrtc"),
        "sudo apt install nvidia-cuda",
    ),
}
# The Debian packages of TensorRT's libraries, whose names end in the library's number.
TENSORRT_PACKAGES = {
    "libnvinfer": "libnvinfer",
    "libnvinfer_plugin": "libnvinfer-plugin",
    "libnvonnxparser": "libnvonnxparsers",
}


def missing_onnxruntime(error: ImportError, root: Path = jetson.ROOT) -> MissingDependency:
    """What to raise when onnxruntime cannot be imported."""
    return _missing("onnxruntime", "cpu", "Running a model", error, install_onnxruntime(root), root)


def missing_opencv(error: ImportError, root: Path = jetson.ROOT) -> MissingDependency:
    """What to raise when cv2 cannot be imported."""
    return _missing("OpenCV", "video", "Reading videos and cameras", error, _install_opencv(root), root)


def install_onnxruntime(root: Path = jetson.ROOT) -> str:
    """The lines that give this machine an onnxruntime."""
    if not jetson.is_jetson(root):
        return 'pip install "edgeproof[cpu]"   (with an NVIDIA GPU: "edgeproof[gpu]")'
    return (
        f"install an onnxruntime-gpu wheel that is made for {_system(root)}, not PyPI's: the community's "
        "index jetson-ai-lab has some (jp6/cu126 for JetPack 6)\n"
        "or build one on the board, with --use_tensorrt: docs/jetson.md in edgeproof's sources says how"
    )


def replace_onnxruntime(root: Path = jetson.ROOT) -> str:
    """The lines that give this machine an onnxruntime with GPU providers in place of one without."""
    if not jetson.is_jetson(root):
        return 'pip uninstall onnxruntime && pip install "edgeproof[gpu]"'
    return f"pip uninstall onnxruntime onnxruntime-gpu\n{install_onnxruntime(root)}"


def remedy(library: str, *, jetson: bool) -> str:
    """What to type when a shared library is missing.

    Args:
        library: its file's name, such as libcudnn.so.9.
        jetson: whether the machine is one.
    """
    return _for_jetson(library) if jetson else _for_others(library)


def _for_jetson(library: str) -> str:
    stem, _, number = library.partition(".so.")
    if stem in TENSORRT_PACKAGES and number.isdigit():
        package = f"{TENSORRT_PACKAGES[stem]}{number}"
        return f"sudo apt install {package}   (no such package: this onnxruntime is for another JetPack)"
    lines = (line for start, line in JETPACK_LIBRARIES.items() if library.startswith(start))
    return next(lines, "sudo apt install nvidia-jetpack")


def _for_others(library: str) -> str:
    if library.startswith(DRIVER):
        return "install NVIDIA's driver: sudo apt install nvidia-driver-580   (in a container: --gpus all)"
    if library.startswith(("libnvinfer", "libnvonnxparser")):
        return "install TensorRT 10: https://developer.nvidia.com/tensorrt   (its libraries are not on PyPI)"
    return 'pip install "edgeproof[gpu]"'


def _system(root: Path) -> str:
    version = jetson.jetpack_version(root)
    return f"JetPack {version}" if version[:1].isdigit() else version or "this JetPack"


def _install_opencv(root: Path) -> str:
    if not jetson.is_jetson(root):
        return 'pip install "edgeproof[video]"'
    return (
        "sudo apt install nvidia-opencv   (it has GStreamer; a virtual environment sees it if it was made "
        "with --system-site-packages)"
    )


def _missing(
    package: str, extra: str, purpose: str, error: ImportError, install: str, root: Path
) -> MissingDependency:
    if isinstance(error, ModuleNotFoundError):
        return MissingDependency(package, extra, purpose, todo=install)
    if jetson.is_jetson(root) and "numpy" in str(error).lower():
        install = OLD_NUMPY
    return MissingDependency(package, extra, purpose, got=gist(error), todo=install)
