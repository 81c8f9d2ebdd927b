"""ONNX Runtime's execution providers, one file each: what they need, their options, and what they can do.

Also what a user requests of them, and where they put the nodes. Opens no session.
"""
