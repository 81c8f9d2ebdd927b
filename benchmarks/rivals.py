"""INT8 by other tools, one model a call; run by int8.py in an environment of their own.

python rivals.py TOOL MODEL.onnx CALIBRATION.npy OUT.onnx
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def modelopt(method: str) -> Callable[[str, Path, str], None]:
    """NVIDIA Model Optimizer, with maxima or by entropy."""

    def quantize(model: str, calibration: Path, out: str) -> None:
        from modelopt.onnx.quantization import quantize as carry_out

        carry_out(
            onnx_path=model,
            calibration_data=np.load(calibration),
            calibration_method=method,
            output_path=out,
            high_precision_dtype="fp32",
        )

    return quantize


def onnxruntime_static(activations: str, *, per_channel: bool) -> Callable[[str, Path, str], None]:
    """onnxruntime's quantize_static; activations are "QInt8", as it comes, or "QUInt8"."""

    def quantize(model: str, calibration: Path, out: str) -> None:
        import onnxruntime
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self._rows = iter(np.load(calibration))

            def get_next(self) -> dict[str, np.ndarray] | None:
                row = next(self._rows, None)
                return None if row is None else {name: row[None]}

        quantize_static(model, out, Reader(), per_channel=per_channel, activation_type=QuantType[activations])

    return quantize


def onnxsim_mse(model: str, calibration: Path, out: str) -> None:
    """onnxsim's own quantizer, by mean square error, unsigned."""
    import onnx
    from onnxsim import quantize_static

    loaded = onnx.load(model)
    name = loaded.graph.input[0].name
    rows = [{name: row[None]} for row in np.load(calibration)]
    onnx.save(
        quantize_static(loaded, calibration_data=rows, num_calibration_samples=len(rows), method="mse"), out
    )


def aimet(model: str, calibration: Path, out: str) -> None:
    """Qualcomm's AIMET-ONNX with its default scheme, signed activations as TensorRT takes them."""
    import onnx
    from aimet_onnx import QuantizationSimModel, int8

    loaded = onnx.load(model)
    name = loaded.graph.input[0].name
    simulation = QuantizationSimModel(loaded, param_type=int8, activation_type=int8)
    simulation.compute_encodings([{name: row[None]} for row in np.load(calibration)])
    onnx.save(simulation.to_onnx_qdq(), out)


TOOLS: dict[str, Callable[[str, Path, str], None]] = {
    "modelopt-max": modelopt("max"),
    "modelopt-entropy": modelopt("entropy"),
    "onnxruntime": onnxruntime_static("QInt8", per_channel=False),
    "onnxruntime-channels": onnxruntime_static("QUInt8", per_channel=True),
    "onnxsim-mse": onnxsim_mse,
    "aimet": aimet,
}

if __name__ == "__main__":
    tool, source, inputs, target = sys.argv[1:]
    TOOLS[tool](source, Path(inputs), target)
