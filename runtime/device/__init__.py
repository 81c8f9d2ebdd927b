"""The machine: its GPUs, processor, libraries, memory and power, and what to type for what it lacks.

Knows nothing of models.
"""
