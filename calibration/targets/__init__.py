"""What an INT8 model is made for: one file a target, and the placement of Q/DQ pairs by trial.

The way from ranges to a judged INT8 model.
"""
