"""A user's model checked, and brought into the one form that the other rooms take.

The model's answers stay the same.
"""
