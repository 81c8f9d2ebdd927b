"""ONNX Runtime's execution providers: their options, what they need, and where they put the nodes.

Opens no session.
"""
