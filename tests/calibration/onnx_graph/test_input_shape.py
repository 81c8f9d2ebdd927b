"""Sides of an input that a file leaves open, or states wrongly."""

import numpy as np
import onnx
import pytest

from edgeproof.calibration.onnx_graph.input_shape import with_input
from edgeproof.calibration.onnx_graph.read import parse_onnx
from edgeproof.calibration.onnx_graph.shapes import input_of
from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.session.session import Session


def conv(shape):
    """A convolution that declares an input and an output of some shape."""
    weight = onnx.numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "w")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value("y", onnx.TensorProto.FLOAT, [shape[0], 2, *(["h", "w"] if -1 in shape[2:] else [7, 7])])],
        [weight],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_sides_of_minus_one_are_open():
    model = parse_onnx(conv([-1, 3, -1, -1]).SerializeToString(), "it")
    assert input_of(model).shape == ("?", 3, "?", "?")


def test_given_sides_take_the_place_of_the_declared_ones():
    model = with_input(conv([1, 3, 9, 9]), (3, 20, 30), 0)
    assert input_of(model).shape == ("batch", 3, 20, 30)
    with Session(model.SerializeToString()) as session:
        assert session.run(np.zeros((2, 3, 20, 30), np.float32))["y"].shape == (2, 2, 18, 28)


def test_nothing_given_changes_nothing():
    model = conv([1, 3, 9, 9])
    assert with_input(model) is model


def test_another_batch_is_declared():
    assert input_of(with_input(conv([1, 3, 9, 9]), batch=4)).shape == (4, 3, 9, 9)


def test_another_number_of_sides_is_refused():
    with pytest.raises(ModelError, match="another number of sides") as caught:
        with_input(conv([1, 3, 9, 9]), (20, 30))
    assert "--input" in str(caught.value)
