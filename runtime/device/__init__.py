"""The machine: its GPUs, its processor, its libraries, memory and power, and what to type for what it lacks.

Knows nothing of models.
"""
