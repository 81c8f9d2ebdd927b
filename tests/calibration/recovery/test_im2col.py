"""The patches, times the weights, are what the operator gives."""

import numpy as np
import pytest

from edgeproof.calibration.recovery.im2col import input_patches, weight_matrix

ALL = 10**6
SHAPES = {
    "padded": ("y = Conv<pads=[1,0,2,1], strides=[2,1]>(x, w)", (6, 3, 3, 2), (4, 3, 9, 8)),
    "grouped, dilated": ("y = Conv<group=3, dilations=[2,1]>(x, w)", (6, 2, 2, 3), (4, 6, 9, 8)),
    "depthwise": ("y = Conv<group=5, pads=[1,1,1,1]>(x, w)", (5, 1, 3, 3), (2, 5, 6, 6)),
    "same as the input": ('y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', (4, 3, 3, 2), (2, 3, 7, 8)),
    "same, lower": ('y = Conv<auto_pad="SAME_LOWER">(x, w)', (4, 3, 2, 4), (2, 3, 7, 8)),
    "not padded": ('y = Conv<auto_pad="VALID">(x, w)', (4, 3, 3, 2), (2, 3, 7, 8)),
    "three sides": ("y = Conv<pads=[1,0,0,1,0,0]>(x, w)", (4, 1, 3, 2, 2), (2, 1, 5, 4, 4)),
    "one side": ("y = Conv(x, w)", (4, 3, 3), (2, 3, 7)),
}


def patches(node, x, weight, most=ALL, seed=0):
    kernel = weight.shape[2:] if node.op_type == "Conv" else ()
    return input_patches(node, x, kernel, most, np.random.default_rng(seed))


@pytest.mark.parametrize("name", SHAPES)
def test_a_convolution_is_a_product_with_its_windows(build, run, rng, name):
    text, weight_shape, input_shape = SHAPES[name]
    weight = rng(1).standard_normal(weight_shape).astype(np.float32)
    x = rng(2).standard_normal(input_shape).astype(np.float32)
    sides = ",".join(map(str, input_shape[1:]))
    artifact = build(f"g (float[batch,{sides}] x) => (float y) {{ {text} }}", w=weight)
    node = artifact.model.graph.node[0]

    product = patches(node, x, weight) @ weight_matrix(node, weight, 0).transpose(0, 2, 1)

    expected = np.moveaxis(run(artifact, x)["y"], 1, -1).reshape(-1, weight_shape[0])
    found = np.moveaxis(product, 0, 1).reshape(len(expected), -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("text", "axis"), [("y = Gemm(x, w)", 1), ("y = Gemm<transB=1>(x, w)", 0)])
def test_the_patches_of_a_matrix_product_are_its_rows(vector, run, rng, text, axis):
    weight = rng(1).standard_normal((4, 4)).astype(np.float32)
    x = rng(2).standard_normal((7, 4)).astype(np.float32)
    artifact = vector(text, w=weight)
    node = artifact.model.graph.node[0]

    product = patches(node, x, weight) @ weight_matrix(node, weight, axis).transpose(0, 2, 1)

    np.testing.assert_allclose(product[0], run(artifact, x)["y"], rtol=1e-5, atol=1e-6)


def test_of_many_places_some_are_drawn_the_same_each_time(vector):
    weight = np.eye(4, dtype=np.float32)
    node = vector("y = Gemm(x, w)", w=weight).model.graph.node[0]
    x = np.arange(4.0 * 300, dtype=np.float32).reshape(-1, 4)

    first, again, other = (patches(node, x, weight, most=100, seed=seed) for seed in (0, 0, 1))

    assert first.shape == (1, 100, 4)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[0, :, 0])) == 100
