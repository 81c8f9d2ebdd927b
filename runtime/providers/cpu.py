"""ONNX Runtime's CPU provider: it runs every model, in the process's own memory."""

from __future__ import annotations

from collections.abc import Mapping

from ..bundle.manifest import Manifest
from ..device.cpu import has_vnni
from ..errors import PrecisionError
from .base import ExecutionProvider
from .known_faults import FIRST_ROUNDING, rounds_float16

EXACT_SUMS = "session.x64quantprecision"


class CpuProvider(ExecutionProvider):
    """The CPU."""

    name = "cpu"
    ort_name = "CPUExecutionProvider"
    takes_every_node = True
    concurrent_runs = True

    def usual_precision(self, manifest: Manifest, *, dla: bool = False) -> str:
        """INT8 that was made for the CPU and is shipped; else float32: INT8 for TensorRT is slower here."""
        shipped = manifest.target == self.name and manifest.verdict.ship == "int8"
        return "int8" if shipped else "fp32"

    def require_precision(self, manifest: Manifest, precision: str, onnxruntime: str) -> None:
        """Refuse INT8 for TensorRT where it would truncate the float16 that TensorRT rounds."""
        if precision == "int8" and manifest.target == "tensorrt" and not rounds_float16(onnxruntime):
            raise PrecisionError(
                "This ONNX Runtime's CPU provider truncates float16 where INT8 made for TensorRT rounds it.",
                wanted=f"onnxruntime {'.'.join(map(str, FIRST_ROUNDING))} or later, or another provider",
                got=f"onnxruntime {onnxruntime}",
                todo="choose --provider tensorrt, or --precision fp32",
            )

    def session_entries(self, precision: str | None) -> Mapping[str, str]:
        """Exact INT8 sums where the processor's own are not.

        Without VNNI, x86 kernels sum two products of uint8 and int8 in 16 bits, which saturate. With VNNI
        sums are exact, and the entry would only cost time: 1.8 times as long in ONNX Runtime 1.31. Off x86 it
        has no effect.
        """
        return {} if has_vnni() else {EXACT_SUMS: "1"}


CPU = CpuProvider()
