"""From frames to answers: the runner, its threads, its results, and the proof that they are PyTorch's.

The room that users import from.
"""
