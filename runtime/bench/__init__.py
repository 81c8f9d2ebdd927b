"""Benchmarks: how fast a bundle runs on this machine, measured and reported.

Only the command imports it.
"""
