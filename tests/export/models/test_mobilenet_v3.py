"""MobileNetV3 (arXiv 1905.02244): torchvision's, exported; its counts stand in test_cost.py."""

import pytest


@pytest.mark.slow
def test_the_export_gives_pytorchs_answers(proven):
    model = proven("mobilenet_v3_small", "small")
    assert {"HardSwish", "HardSigmoid"} <= {node.op_type for node in model.graph.node}


def test_shapes(sized, shapes):
    for name, channels in (("mobilenet_v3_small", 576), ("mobilenet_v3_large", 960)):
        small = shapes(sized(name, 10, "small"), (3, 32, 32), "features.0", "features")
        assert small == [(16, 32, 32), (channels, 2, 2)]
