"""Sessions of ONNX Runtime: opened, proven to run where they were asked for, bound, cached and pooled.

Which model of a bundle runs where is chosen here.
"""
