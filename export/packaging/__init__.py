"""A bundle in the form that another program serves it from.

`triton.py` writes a model repository of NVIDIA's Triton Inference Server.
"""
