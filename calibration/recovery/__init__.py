"""Recovers INT8 accuracy: sensitive layers stay float, the rest are re-fitted (GPTQ, bias correction).

All in closed form on a fake-quantized graph that ONNX Runtime computes.
"""
