"""Trained weights: read from untrusted files, from torchvision, or from a demo training kept for next time.

Gives the network with its weights.
"""
