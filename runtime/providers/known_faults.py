"""Versions that are known to fail or to compute wrongly; they are refused, with what works instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import PlacementError

FIRST_ROUNDING = (1, 30)  # the first ONNX Runtime whose CPU provider rounds float16 in QuantizeLinear


def rounds_float16(onnxruntime: str) -> bool:
    """Whether this ONNX Runtime's CPU provider quantizes float16 as ONNX says; older ones truncate.

    Args:
        onnxruntime: its version, such as 1.23.2.
    """
    return tuple(int(part) for part in onnxruntime.split(".")[:2]) >= FIRST_ROUNDING


@dataclass(frozen=True)
class KnownFault:
    """A TensorRT that cannot do something on some GPU.

    Attributes:
        tensorrt: major and minor version.
        capability: the GPU's compute capability.
        precision: of the model.
        source: where it is reported.
        works: what works instead, as a person would read it.
    """

    tensorrt: tuple[int, int]
    capability: str
    precision: str
    source: str
    works: str


KNOWN_FAULTS: tuple[KnownFault, ...] = (
    KnownFault(
        (10, 16),
        "8.7",
        "int8",
        "NVIDIA/TensorRT issue 4832: on Orin, no kernel for DequantizeLinear in a strongly typed network",
        "TensorRT 10.3, which JetPack 6.2 brings",
    ),
)


def refuse_known_fault(
    tensorrt: tuple[int, int, int],
    capability: str,
    precision: str,
    faults: Sequence[KnownFault] = KNOWN_FAULTS,
) -> None:
    """Refuse what would fail after minutes of compiling.

    Args:
        tensorrt: version found.
        capability: of the GPU, such as 8.7.
        precision: of the model.
        faults: those that are known.

    Raises:
        PlacementError: this very combination is known to fail.
    """
    for fault in faults:
        if (tensorrt[:2], capability, precision) == (fault.tensorrt, fault.capability, fault.precision):
            raise PlacementError(
                f"TensorRT {'.'.join(map(str, tensorrt))} is known to fail on {precision} models here.",
                wanted=fault.works,
                got=f"compute capability {capability}; {fault.source}",
                todo="choose --precision fp16, or install that TensorRT",
            )
