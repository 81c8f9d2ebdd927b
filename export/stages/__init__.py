"""The stages from PyTorch to a bundle, and the proof of each.

One stage a file; the pipeline puts them in order.
"""
