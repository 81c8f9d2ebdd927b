"""What INT8 costs, taken back: its graph simulated, and weights rounded for what they really meet.

The only room of this floor that needs torch; the others import it where recovery is asked for.
"""
