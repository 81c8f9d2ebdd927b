import pytest

from edgeproof.runtime.device.gpu import Driver, Gpu, read_driver

KERNEL = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:16:09 UTC 2025\n"
    "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
)
JETSON_KERNEL = "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n"
CAPABILITY = {75: 8, 76: 7}


class FakeDriver:
    """libcuda.so.1 as ctypes gives it, with some GPUs."""

    def __init__(self, names=("Orin",), status=0):
        self.names, self.status = names, status

    def cuInit(self, flags):  # noqa: N802 - NVIDIA's own names, here and below
        return self.status

    def cuDriverGetVersion(self, number):  # noqa: N802
        number._obj.value = 13000
        return 0

    def cuDeviceGetCount(self, number):  # noqa: N802
        number._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device, index):  # noqa: N802
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, buffer, length, device):  # noqa: N802
        buffer.value = self.names[device.value].encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):  # noqa: N802
        memory._obj.value = 8 << 30
        return 0

    def cuDeviceGetAttribute(self, value, kind, device):  # noqa: N802
        value._obj.value = CAPABILITY[kind]
        return 0


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(KERNEL)
    return tmp_path


def test_a_driver_tells_its_version_and_its_gpus(root):
    driver = read_driver(root, lambda name: FakeDriver(("Orin", "Thor")))
    assert driver == Driver("580.65.06", "13.0", (Gpu("Orin", "8.7", 8 << 30), Gpu("Thor", "8.7", 8 << 30)))


def test_a_jetsons_kernel_tells_its_version_too(root):
    (root / "proc/driver/nvidia/version").write_text(JETSON_KERNEL)
    assert read_driver(root, lambda name: FakeDriver()).version == "540.4.0"


def test_a_machine_with_nothing_has_a_problem_not_an_error(tmp_path):
    def load(name):
        raise OSError(f"{name}: cannot open shared object file")

    driver = read_driver(tmp_path, load)
    assert (driver.version, driver.gpus) == ("", ())
    assert "driver cannot be loaded: libcuda.so.1" in driver.problem


def test_a_driver_that_does_not_start_has_a_problem(root):
    assert "CUDA error 100" in read_driver(root, lambda name: FakeDriver(status=100)).problem


def test_a_driver_without_a_gpu_has_a_problem(root):
    assert read_driver(root, lambda name: FakeDriver(())).problem == "the driver finds no GPU"
