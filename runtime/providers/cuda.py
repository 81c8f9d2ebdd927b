"""ONNX Runtime's CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..bundle.manifest import Manifest
from ..device.libraries import CUDA_PROVIDER
from .base import Options
from .nvidia import NvidiaProvider

if TYPE_CHECKING:
    from .request import ProviderRequest

# An exhaustive search for convolutions would cost seconds at each new shape. `make gpu-test` measures them.
CUDA_CHOICES: Mapping[str, str] = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "prefer_nhwc": "0",
    "arena_extend_strategy": "kNextPowerOfTwo",
}
# Folds the DequantizeLinear of weights before a provider sees the graph, and writes no int32 biases into it.
FOLD_WEIGHTS = "session.disable_quant_qdq"


class CudaProvider(NvidiaProvider):
    """CUDA with cuDNN."""

    name = "cuda"
    ort_name = "CUDAExecutionProvider"
    library = CUDA_PROVIDER
    opened_later = ("libcudnn.so.9",)  # at the first convolution
    replans_batches = True

    def usual_precision(self, manifest: Manifest, *, dla: bool = False) -> str:
        """Float16: it computes Q/DQ pairs one by one, which gains nothing."""
        return "fp16" if "fp16" in manifest.models else "fp32"

    def options(self, request: ProviderRequest) -> Options:
        """Which GPU, how convolutions are chosen, TF32, and CUDA graphs."""
        options = {"device_id": str(request.device), **CUDA_CHOICES}
        if request.exact:
            options["use_tf32"] = "0"
        if request.engine.cuda_graph:
            options["enable_cuda_graph"] = "1"
        return options

    def session_entries(self, precision: str | None) -> Mapping[str, str]:
        """Float weights for INT8: it computes Q/DQ pairs one by one."""
        return {FOLD_WEIGHTS: "1"} if precision == "int8" else {}


CUDA = CudaProvider()
