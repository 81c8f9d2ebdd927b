"""Signatures over a whole bundle: who made it, said so that a device can check it.

May import `bundle` and below; opens no model.
"""
