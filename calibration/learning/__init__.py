"""INT8 that is learned: the ONNX graph as a PyTorch function, its quantization simulated and trained.

The only room of this floor that needs torch; the others import it where gradients are asked for.
"""
