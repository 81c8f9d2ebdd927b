"""From frames to predictions: the runner, its threads, its results, and their proof against PyTorch's."""
