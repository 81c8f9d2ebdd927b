"""Sessions of ONNX Runtime: opened, proven to run where requested, bound, cached and pooled.

Which model of a bundle runs where is chosen here.
"""
