"""Training: one seeded loop, its checkpoints, history and folder.

Serves demo weights and `edgeproof train`.
"""
