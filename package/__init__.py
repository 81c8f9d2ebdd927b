"""Takes a trained PyTorch vision model to an embedded NVIDIA GPU, and proves every step.

Three floors, each with a public API of its own: `edgeproof.export` (PyTorch to bundle),
`edgeproof.calibration` (ONNX to lower precision) and `edgeproof.runtime` (what runs on the device). Nothing
is imported here, so that a device pays only for what it uses.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """The version of the installed package, read when it is asked for (PEP 562)."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    globals()[name] = found = version("edgeproof")
    return found
