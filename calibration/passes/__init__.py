"""Changes of a float model: equalization, shifts, float16, uint8 input; and how ranges are chosen.

One transformation a file.
"""
