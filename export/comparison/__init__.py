"""Two forms of a model on the same inputs: every output, then layer by layer.

A form is a PyTorch network, an ONNX file, a precision of a bundle, or what one of them saved elsewhere.
Nothing here imports torch or onnx before it is needed: a device compares and saves bundles without them.
"""
