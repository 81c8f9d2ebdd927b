"""A user's ONNX file read, checked, and brought into the one form that the other stages take."""
