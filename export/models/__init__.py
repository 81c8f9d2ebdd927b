"""Architectures: one a file, each described by a `ModelSpec`.

The registry in `sources` finds them by name.
"""
