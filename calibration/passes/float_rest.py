"""What INT8 leaves float: float16, or float32 as it was. The graph itself says all precisions.

TensorRT takes the types of the graph as they are, so what an INT8 graph leaves float32 runs in float32 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from ...runtime.errors import InputError
from ...runtime.providers.known_faults import FIRST_ROUNDING, rounds_float16
from ..ranges.statistics import Range
from .fp16 import convert_to_fp16
from .kept import KeptLayer


@dataclass(frozen=True)
class Mixed:
    """An INT8 model as it is handed over.

    Attributes:
        model: the model.
        kept_float: layers that INT8 leaves float, and nodes that float16 leaves float32, by their names.
    """

    model: onnx.ModelProto
    kept_float: Mapping[str, KeptLayer]


def require_rounding(onnxruntime: str) -> None:
    """Make sure that float16 beside Q/DQ pairs can be judged on this machine.

    Args:
        onnxruntime: the version of ONNX Runtime.

    Raises:
        InputError: its CPU provider truncates float16 in QuantizeLinear, where it should round.
    """
    if not rounds_float16(onnxruntime):
        oldest = ".".join(map(str, FIRST_ROUNDING))
        raise InputError(
            "INT8 beside float16 cannot be judged here: this ONNX Runtime truncates where it should round.",
            wanted=f"onnxruntime {oldest} or later",
            got=f"onnxruntime {onnxruntime}",
            todo=f'pip install "onnxruntime>={oldest}", or --target tensorrt-fp32',
        )


def float32_rest(int8: onnx.ModelProto, reasons: Mapping[str, str]) -> Mixed:
    """What INT8 leaves float stays float32."""
    return Mixed(int8, {name: KeptLayer("float32", reason) for name, reason in reasons.items()})


def float16_rest(int8: onnx.ModelProto, ranges: Mapping[str, Range], reasons: Mapping[str, str]) -> Mixed:
    """What INT8 leaves float becomes float16, but for what float16 cannot hold."""
    halved = convert_to_fp16(int8, ranges)
    kept = {name: KeptLayer("float16", reason) for name, reason in reasons.items()}
    for name, reason in halved.kept_float32.items():
        both = "; ".join(filter(None, (reasons.get(name), reason)))
        kept[name] = KeptLayer("float32", both)
    return Mixed(halved.model, kept)
