"""Where a network comes from: the registry, torchvision, or the user's own factory; resolved against data.

Imports the architectures, and trains nothing.
"""
