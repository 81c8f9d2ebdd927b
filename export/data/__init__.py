"""Data sets: one a file, found by name in `catalog`."""
