"""The middle floor: ONNX to ONNX at lower precision, and the proof of it. numpy, onnx and onnxruntime.

From the bottom: onnx_graph, normalize, dataset, ranges, qdq, passes, preflight, recovery, targets.
"""
