"""Collect the ranges of a model, as `edgeproof quantize` does; run by int8.py, which times it.

python int8_collect.py MODEL.onnx INPUTS.npy
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs, normal_form
from edgeproof.calibration.onnx_graph.read import read_onnx
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.targets.registry import find_target


def main() -> None:
    """Read a few inputs at a time, so that memory is that of the collecting."""
    model, inputs = map(Path, sys.argv[1:])
    count = len(np.load(inputs, mmap_mode="r"))

    def read(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.array(np.load(inputs, mmap_mode="r")[positions])  # opened anew: pages that were read count

    samples = CalibrationSet(read, count, "")
    inputs_of = CalibrationInputs(normal_form(OnnxArtifact(read_onnx(model), "file")), samples)
    find_target("tensorrt").calibrate(inputs_of, Progress(quiet=True))


if __name__ == "__main__":
    main()
