"""The middle floor: ONNX to ONNX at lower precision, and the proof of it. numpy, onnx and onnxruntime.

Names are loaded when they are first used. Rooms from the bottom: onnx_graph, normalize, dataset, ranges, qdq,
passes, preflight, recovery, targets.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .passes.uint8_request import Uint8Request
    from .progress import Progress
    from .quantization import QuantizeRequest, quantize
    from .targets.base import Int8Request, Int8Result

_HOME = {
    "Int8Request": ".targets.base",
    "Int8Result": ".targets.base",
    "Progress": ".progress",
    "QuantizeRequest": ".quantization",
    "Uint8Request": ".passes.uint8_request",
    "quantize": ".quantization",
}

__all__ = ["Int8Request", "Int8Result", "Progress", "QuantizeRequest", "Uint8Request", "quantize"]


def __getattr__(name: str) -> object:
    """Load a public name from its module, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value
