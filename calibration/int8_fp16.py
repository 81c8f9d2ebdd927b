"""INT8 for TensorRT with float16 for what is not rounded: the graph itself says all precisions.

TensorRT 11 takes the types of the graph as they are, so what an INT8 graph leaves float32 runs in float32
there. TensorRT 10 turns it into float16 when ONNX Runtime is told to, and needs no such graph.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .artifact import OnnxArtifact
from .batches import CalibrationSet
from .collect import Statistics
from .fp16 import convert_to_fp16
from .int8 import Int8Request, Int8Result, make_int8
from .judge import Judge
from .progress import Stages


def make_int8_fp16(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    statistics: Statistics,
    request: Int8Request,
    labels: NDArray[np.integer] | None = None,
    stages: Stages | None = None,
) -> Int8Result:
    """Quantize as `make_int8` does, then halve what stayed float32, but for what float16 cannot hold.

    Arguments and errors are those of `make_int8`; the result is judged as it is handed over.
    """
    made = make_int8(artifact, samples, statistics, request, labels, stages)
    halved = convert_to_fp16(made.artifact, statistics.ranges).artifact
    mixed = artifact.derive(halved.model, "int8", "int8")
    parity, drop = Judge(artifact, samples, labels).judge(mixed)
    return replace(made, artifact=mixed, parity=parity, drop=drop)
