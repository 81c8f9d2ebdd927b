"""The inputs that calibrate: read in pieces, counted, hashed; and what a model's answers to them lose.

Has both halves of a measurement: inputs, and the drop.
"""
