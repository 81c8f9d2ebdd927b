"""Writing INT8 into a graph: where Q/DQ pairs go, on which grids, for TensorRT and for the CPU provider."""
