"""TF32: a GPU keeps 11 of the 24 significant bits of float32 when it multiplies, unless told otherwise.

NVIDIA's libraries read one variable of the environment when they are first loaded and keep its value for the
life of the process (ONNX Runtime issue 26029). So it is never changed in a running process: exact engines
have a process of their own, which is started with the variable set.
"""

from __future__ import annotations

import os

from ..errors import InputError

OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # of cuBLAS, cuDNN and TensorRT; 0 forbids TF32
FORBIDDEN = {OVERRIDE: "0"}


def is_forbidden() -> bool:
    """Whether this process was started without TF32."""
    return os.environ.get(OVERRIDE) == "0"


def require_forbidden() -> None:
    """Require a process in which no GPU library may use TF32.

    Raises:
        InputError: the process was not started with `NVIDIA_TF32_OVERRIDE=0`.
    """
    if not is_forbidden():
        raise InputError(
            "Exact float32 on TensorRT needs a process of its own.",
            wanted=f"{OVERRIDE}=0 before the process starts: NVIDIA's libraries read it once",
            got=f"{OVERRIDE}={os.environ.get(OVERRIDE, 'not set')}",
            todo=f"{OVERRIDE}=0 python ...   (`edgeproof verify` starts such a process by itself)",
        )
