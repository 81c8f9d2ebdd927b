"""Bundles on a device that nobody watches: installing, going back, changing over while frames come.

May import `inference` and below; the command stands above it.
"""
