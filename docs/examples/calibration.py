"""The float32 model of the bundle becomes INT8, calibrated and judged with an array of its inputs."""

import numpy as np
import onnx

from edgeproof.calibration import Int8Request, QuantizeRequest, quantize

generator = np.random.default_rng(1)
coarse = generator.uniform(-1, 1, (64, 3, 4, 4)).astype(np.float32)
inputs = coarse.repeat(4, axis=2).repeat(4, axis=3)  # N x C x H x W, as the model takes them

result = quantize(
    QuantizeRequest(
        model=onnx.load("bundle/model.fp32.onnx"),
        calibration=inputs,
        int8=Int8Request(max_drop=5),
        target="cpu",
    )
)
assert result.drop <= 5
onnx.save(result.artifact.model, "model.int8.onnx")
