"""A bundle measured on labelled data: the task's metric, class by class, and its precisions in pairs.

The export's own measurement is `stages/accuracy.py`; this one needs the bundle and data alone.
"""
