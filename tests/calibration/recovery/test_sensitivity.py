"""The order in which layers are left float."""

from edgeproof.calibration.onnx_graph.cost import LayerCost
from edgeproof.calibration.recovery.sensitivity import LayerSensitivity, by_gain


def layers(**found):
    return [LayerSensitivity(name, name, error, LayerCost(0, size)) for name, (error, size) in found.items()]


def order(**found):
    return [layer.node for layer in by_gain(layers(**found))]


def test_of_equal_size_the_largest_error_is_first():
    assert order(small=(0.1, 10), large=(0.3, 10), middle=(0.2, 10)) == ["large", "middle", "small"]


def test_of_equal_error_the_cheapest_is_first():
    assert order(heavy=(0.1, 1000), light=(0.1, 10)) == ["light", "heavy"]


def test_a_layer_is_never_free():
    """A tiny layer does not go before one of the mean size whose error is twice as large."""
    assert order(tiny=(0.1, 1), usual=(0.2, 100)) == ["usual", "tiny"]


def test_an_error_that_is_no_number_is_the_worst():
    assert order(known=(0.5, 10), broken=(float("nan"), 10)) == ["broken", "known"]


def test_layers_of_unknown_size_are_ordered_by_error():
    assert order(small=(0.1, 0), large=(0.3, 0)) == ["large", "small"]
