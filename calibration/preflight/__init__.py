"""Pre-flight: NVIDIA's compiler asked on a machine without a GPU, and its refusals explained.

The compiler runs in a child process.
"""
