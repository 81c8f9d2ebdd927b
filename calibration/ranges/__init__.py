"""From the values of a tensor to the range that its integers cover.

Statistics on real inputs, or a calibration cache of TensorRT.
"""
