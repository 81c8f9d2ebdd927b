import pytest

from edgeproof.runtime.device.memory import gpu_bytes_used, resident_bytes


class FakeDriver:
    """libcuda.so.1 of a GPU with 8 GiB, of which 3 are free; one of its functions may fail."""

    def __init__(self, failing=""):
        self.failing = failing
        self.calls = []

    def __getattr__(self, name):
        def function(*arguments):
            self.calls.append(name)
            if name == "cuMemGetInfo_v2":
                free, total = arguments
                free._obj.value, total._obj.value = 3 << 30, 8 << 30
            return int(name == self.failing)

        return function


def no_library(name):
    raise OSError(f"{name}: cannot open shared object file")


def test_this_process_holds_memory():
    assert resident_bytes() > 1 << 20


def test_the_kernel_counts_in_kibibytes(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tpython\nVmHWM:\t  9999 kB\nVmRSS:\t  2048 kB\n")
    assert resident_bytes(tmp_path) == 2 << 20


@pytest.mark.parametrize("status", [None, "", "VmRSS: many kB\n"])
def test_a_kernel_that_does_not_tell_is_no_error(tmp_path, status):
    if status is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/status").write_text(status)
    assert resident_bytes(tmp_path) is None


def test_a_gpu_tells_what_is_in_use_and_its_context_is_given_back():
    driver = FakeDriver()
    assert gpu_bytes_used(0, lambda name: driver) == 5 << 30
    assert driver.calls[-2:] == ["cuCtxPopCurrent_v2", "cuDevicePrimaryCtxRelease_v2"]


FUNCTIONS = ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuMemGetInfo_v2"]


@pytest.mark.parametrize("failing", FUNCTIONS)
def test_a_driver_that_fails_gives_no_figure_and_leaks_no_context(failing):
    driver = FakeDriver(failing)
    assert gpu_bytes_used(0, lambda name: driver) is None
    retained = "cuDevicePrimaryCtxRetain" in driver.calls and failing != "cuDevicePrimaryCtxRetain"
    assert ("cuDevicePrimaryCtxRelease_v2" in driver.calls) == retained


def test_a_machine_without_a_driver_has_no_figure():
    assert gpu_bytes_used(0, no_library) is None
