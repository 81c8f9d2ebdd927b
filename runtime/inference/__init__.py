"""From frames to predictions: the runner, its threads and its results.

Also the replay that proves them against PyTorch's answers.
"""
