"""The middle floor: ONNX to ONNX at lower precision. numpy, onnx and onnxruntime."""
