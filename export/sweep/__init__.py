"""Many exports, each measured: every combination of some models, precisions, targets and seeds.

`plan.py` reads the file, `cell.py` carries out one combination, `run.py` those that are left, `show.py`
tells.
"""
