"""Writing INT8 into a graph: where Q/DQ pairs go, in which integer format, for TensorRT and for the CPU.

Chooses no ranges.
"""
