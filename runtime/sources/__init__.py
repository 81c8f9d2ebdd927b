"""Where frames come from: pictures, folders, tensors, videos and cameras.

One interface for all, `frames.Source`.
"""
