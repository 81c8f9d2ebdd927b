"""What to type for what is missing, and that a Jetson is never told to replace JetPack's packages."""

import ctypes
import sys

import pytest

from edgeproof.runtime.device.libraries import BrokenLibrary
from edgeproof.runtime.device.remedies import missing_onnxruntime, missing_opencv, remedy, replace_onnxruntime
from edgeproof.runtime.errors import PlacementError
from edgeproof.runtime.providers import nvidia
from edgeproof.runtime.providers.tensorrt import TENSORRT
from edgeproof.runtime.session.session import load_onnxruntime
from edgeproof.runtime.sources.opencv import load_opencv

NOT_FOUND = "cannot open shared object file: No such file or directory"
LIBRARIES = ["libcuda.so.1", "libnvinfer.so.10", "libnvonnxparser.so.10", "libcudnn.so.9", "libcublas.so.12"]
ABSENT = ModuleNotFoundError("No module named 'onnxruntime'")
BUILT_FOR_OLD_NUMPY = ImportError("numpy.core.multiarray failed to import")


@pytest.fixture
def jetson(tmp_path):
    """The root of a Jetson with JetPack 6.2."""
    for name, content in {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1\n",
        "var/lib/dpkg/status": "Package: nvidia-jetpack\nStatus: install ok installed\nVersion: 6.2+b77\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


@pytest.fixture
def pc(tmp_path):
    """The root of a machine that is no Jetson."""
    return tmp_path


def told(error):
    return error.details["to do"]


def everything_told_to(root):
    on_jetson = (root / "etc").exists()
    yield replace_onnxruntime(root)
    yield from (remedy(name, jetson=on_jetson) for name in LIBRARIES)
    for cause in (ABSENT, BUILT_FOR_OLD_NUMPY, ImportError("libgomp.so.1: cannot allocate memory")):
        yield told(missing_onnxruntime(cause, root))
        yield told(missing_opencv(cause, root))


def test_a_jetson_is_never_told_to_install_pypis_packages_over_its_own(jetson):
    lines = list(everything_told_to(jetson))
    assert len(lines) == 12
    assert not [line for line in lines if "edgeproof[" in line]


def test_another_machine_is_never_told_of_jetpack(pc):
    assert not [line for line in everything_told_to(pc) if "jetpack" in line.lower()]


def test_a_jetson_without_onnxruntime_is_told_which_wheel(jetson, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Exception, match="which is not installed") as caught:
        load_onnxruntime(jetson)
    assert "onnxruntime-gpu wheel that is made for JetPack 6.2" in told(caught.value)
    assert "jetson-ai-lab" in told(caught.value)


def test_a_jetson_without_opencv_is_told_jetpacks_package(jetson, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(Exception, match="which is not installed") as caught:
        load_opencv(jetson)
    assert told(caught.value).startswith("sudo apt install nvidia-opencv ")
    assert "--system-site-packages" in told(caught.value)


@pytest.mark.parametrize("missing", [missing_onnxruntime, missing_opencv])
def test_a_module_that_is_built_for_another_numpy_is_not_called_absent(missing, jetson):
    error = missing(BUILT_FOR_OLD_NUMPY, jetson)
    assert "which cannot be loaded" in error.message
    assert error.details["got"] == "ImportError: numpy.core.multiarray failed to import"
    assert told(error).startswith('pip install "numpy<2" ')


def test_without_jetpack_the_system_is_named(jetson):
    (jetson / "var/lib/dpkg/status").unlink()
    assert "made for Jetson Linux 36.4.3" in told(missing_onnxruntime(ABSENT, jetson))
    (jetson / "etc/nv_tegra_release").write_text("")
    assert "made for this JetPack" in told(missing_onnxruntime(ABSENT, jetson))


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("libcuda.so.1", "sudo apt install nvidia-l4t-cuda "),
        ("libnvdla_compiler.so", "sudo apt install nvidia-l4t-dla-compiler "),
        ("libnvinfer.so.10", "sudo apt install libnvinfer10 "),
        ("libnvinfer_plugin.so.10", "sudo apt install libnvinfer-plugin10 "),
        ("libnvonnxparser.so.10", "sudo apt install libnvonnxparsers10 "),
        ("libcudnn.so.9", "sudo apt install nvidia-cudnn"),
        ("libcudart.so.12", "sudo apt install nvidia-cuda"),
        ("libcublasLt.so.12", "sudo apt install nvidia-cuda"),
        ("libcufft.so.11", "sudo apt install nvidia-cuda"),
        ("libnvinfer.so", "sudo apt install nvidia-jetpack"),
        ("libsomething.so.1", "sudo apt install nvidia-jetpack"),
    ],
)
def test_each_library_of_a_jetson_has_its_own_package(library, line):
    assert remedy(library, jetson=True).startswith(line)


@pytest.mark.parametrize("library", LIBRARIES)
def test_there_is_something_to_type_on_other_machines_too(library):
    assert len(remedy(library, jetson=False)) > 10


def test_a_library_that_another_one_lacks_is_the_one_to_install(machine, monkeypatch):
    """TensorRT's library is there, and asks for the DLA's compiler, which containers often lack."""
    broken = BrokenLibrary("libnvinfer.so.10", f"libnvdla_compiler.so: {NOT_FOUND}")
    assert broken.missing == "libnvdla_compiler.so"
    monkeypatch.setattr(type(TENSORRT), "broken_libraries", lambda self, ort: [broken])
    monkeypatch.setattr(nvidia, "is_jetson", lambda: True)
    with pytest.raises(PlacementError) as caught:
        TENSORRT.require_usable(machine)
    assert "nvidia-l4t-dla-compiler" in told(caught.value)
    assert "libnvinfer10" not in told(caught.value)


@pytest.mark.parametrize(
    "reason", ["file too short", f"/usr/lib/libnvinfer.so.10: {NOT_FOUND}", "undefined symbol: x"]
)
def test_a_library_with_another_fault_is_itself_what_is_missing(reason):
    assert BrokenLibrary("libnvinfer.so.10", reason).missing == "libnvinfer.so.10"


def test_the_real_loaders_words_name_the_library():
    with pytest.raises(OSError, match="cannot open") as caught:
        ctypes.CDLL("libedgeproof_nowhere.so.7")
    assert BrokenLibrary("libouter.so.1", str(caught.value)).missing == "libedgeproof_nowhere.so.7"


def test_a_build_without_gpu_providers_is_to_be_replaced(jetson):
    assert replace_onnxruntime(jetson).startswith("pip uninstall onnxruntime onnxruntime-gpu\n")
