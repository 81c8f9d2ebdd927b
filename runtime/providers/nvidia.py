"""What CUDA and TensorRT have in common: NVIDIA's driver, its GPUs and its libraries."""

from __future__ import annotations

from typing import Any

from ..device.gpu import Driver, read_driver
from ..device.jetson import is_jetson
from ..device.remedies import DRIVER, remedy, replace_onnxruntime
from ..errors import InputError, PlacementError
from .base import ExecutionProvider

DOCTOR = "edgeproof doctor   (shows all that is missing)"


class NvidiaProvider(ExecutionProvider):
    """A provider that computes on a GPU of NVIDIA's."""

    memory = "cuda"
    has_cuda_graphs = True
    uses_tf32 = True

    def require_usable(self, ort: Any, device: int = 0) -> Driver:
        """Check this build of ONNX Runtime, the driver, the libraries, and the index of the GPU."""
        if self.ort_name not in ort.get_available_providers():
            raise PlacementError(
                f"This ONNX Runtime {ort.__version__} is built without {self.name}.",
                wanted=self.ort_name,
                got=", ".join(ort.get_available_providers()),
                todo=f"{replace_onnxruntime()}\n{DOCTOR}",
            )
        driver = read_driver()  # first: without one, loading gigabytes of libraries is of no use
        if driver.problem:
            raise PlacementError(
                "There is no GPU that can be used.",
                wanted=f"one for the provider {self.name}",
                got=driver.problem,
                todo=f"{remedy(DRIVER, jetson=is_jetson())}\n{DOCTOR}",
            )
        broken = self.broken_libraries(ort)
        if broken:
            remedies = dict.fromkeys(remedy(library.missing, jetson=is_jetson()) for library in broken)
            raise PlacementError(
                f"The provider {self.name} lacks libraries.",
                wanted=", ".join(library.name for library in broken),
                got="; ".join(library.reason for library in broken),
                todo="\n".join([*remedies, DOCTOR]),
            )
        if device >= len(driver.gpus):
            raise InputError(
                f"There is no GPU {device}.",
                available=", ".join(f"{i} ({gpu.name})" for i, gpu in enumerate(driver.gpus)),
            )
        return driver
