"""Reading an ONNX graph: nodes, types, shapes, cost, segments, and the first node where two graphs differ.

Changes no graph.
"""
