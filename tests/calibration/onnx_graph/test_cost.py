"""Multiply-adds of a graph, against the arithmetic of its layers."""

import numpy as np
import pytest

from edgeproof.calibration.onnx_graph.cost import LayerCost, layer_costs, multiply_adds


def test_convolutions_and_classifier(network):
    conv, depthwise, excite, head = 8 * 3 * 9 * 256, 8 * 9 * 256, 8 * 8, 8 * 5

    assert multiply_adds(network.model, (1, 3, 16, 16)) == conv + depthwise + excite + head


def test_it_grows_with_the_input(network):
    small, large = (multiply_adds(network.model, (1, 3, side, side)) for side in (16, 32))

    assert small < large < 4 * small


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        ("y = MatMul(x, w)", (4, 6), 2 * 4 * 6),
        ("y = Gemm(x, w)", (4, 6), 2 * 4 * 6),
        ("t = Transpose(x) y = Gemm<transA=1>(t, w)", (4, 6), 2 * 4 * 6),
        ("y = Relu(x)", (1,), 0),
    ],
)
def test_matrix_products(vector, body, shape, expected):
    artifact = vector(body, w=np.ones(shape, np.float32))

    assert multiply_adds(artifact.model, (2, 4)) == expected


def test_what_no_shape_is_known_of_counts_nothing(vector):
    artifact = vector(
        "t = com.example.Odd(x) y = MatMul(t, w)".replace("com.example", "custom"),
        w=np.ones((4, 6), np.float32),
    )

    assert multiply_adds(artifact.model, (2, 4)) == 0


def test_a_layer_reads_its_inputs_and_weights_and_writes_its_outputs(vector):
    artifact = vector(
        "h = MatMul(x, w) y = Add(h, b)", w=np.ones((4, 6), np.float32), b=np.ones(6, np.float32)
    )

    assert layer_costs(artifact.model, ["h"], (4,)) == {"h": LayerCost(4 * 6, 4 + 4 * 6 + 6)}
