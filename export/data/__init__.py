"""Data sets: one a file, found by name in `catalog`.

Each is in three parts that never overlap: training, calibration, evaluation.
"""
