"""The ONNX graph as a PyTorch function gives ONNX Runtime's values."""

import numpy as np
import pytest
import torch

from edgeproof.calibration.onnx_graph.graph import float_values
from edgeproof.calibration.recovery.network import TorchGraph
from edgeproof.runtime.errors import ModelError

PICTURE = "g (float[batch,3,8,8] x) => (float y) {{ {} }}"
WEIGHT = np.random.default_rng(0).standard_normal((6, 3, 3, 3)).astype(np.float32)
BIAS = np.arange(6, dtype=np.float32)
BODIES = {
    "padded convolution": ("y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)", {"w": WEIGHT, "b": BIAS}),
    "convolution padded to the input's size": (
        'y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)',
        {"w": WEIGHT},
    ),
    "max pool padded to the input's size": ('y = MaxPool<auto_pad="SAME_LOWER", kernel_shape=[2,2]>(x)', {}),
    "unevenly padded convolution": ("y = Conv<pads=[0,1,1,0]>(x, w)", {"w": WEIGHT}),
    "grouped, dilated convolution": (
        "y = Conv<group=3, dilations=[2,2]>(x, w)",
        {"w": WEIGHT[:, :1]},
    ),
    "batch norm": (
        "y = BatchNormalization<epsilon=0.1>(x, s, b, m, v)",
        {name: np.abs(BIAS[:3]) + 1 for name in "sbmv"},
    ),
    "max pool": ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", {}),
    "max pool, rounded up": ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", {}),
    "average pool": ("y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", {}),
    "global pool": ("y = GlobalAveragePool(x)", {}),
    "mean over axes": ("y = ReduceMean<keepdims=0>(x, axes)", {"axes": np.array([2, 3])}),
    "cap": ("y = Clip(x, low, high)", {"low": np.float32(0), "high": np.float32(0.7)}),
    "lower limit only": ("y = Clip(x, low)", {"low": np.float32(-0.2)}),
    "hard swish": ("y = HardSwish(x)", {}),
    "hard sigmoid": ("y = HardSigmoid<alpha=0.17, beta=0.4>(x)", {}),
    "leaky": ("y = LeakyRelu<alpha=0.3>(x)", {}),
    "parametric": ("y = PRelu(x, slope)", {"slope": np.full((3, 1, 1), 0.2, np.float32)}),
    "gelu": ("y = Gelu(x)", {}),
    "softmax": ("y = LogSoftmax<axis=1>(x)", {}),
    "branches": ("a = Sigmoid(x) b = Tanh(x) c = Mul(a, b) y = Concat<axis=1>(c, x)", {}),
    "reshape": ("y = Reshape(x, shape)", {"shape": np.array([0, -1])}),
    "computed shape": (
        "s = Shape<start=0, end=1>(x) t = Concat<axis=0>(s, rest) y = Reshape(x, t)",
        {"rest": np.array([-1])},
    ),
    "transpose and slice": (
        "t = Transpose<perm=[0,2,3,1]>(x) y = Slice(t, from, to, axes, steps)",
        {"from": np.array([1]), "to": np.array([7]), "axes": np.array([1]), "steps": np.array([2])},
    ),
    "gather": ("y = Gather<axis=1>(x, which)", {"which": np.array([[2, 0]])}),
    "squeeze": (
        "a = Unsqueeze(x, at) b = Squeeze(a, at) y = Flatten(b)",
        {"at": np.array([2])},
    ),
    "constant padding": (
        "y = Pad(x, pads, value)",
        {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "value": np.float32(2)},
    ),
    "matrix products": (
        "f = Flatten(x) h = MatMul(f, m) y = Gemm<transB=1, alpha=0.5, beta=2.0>(h, n, c)",
        {
            "m": np.random.default_rng(1).standard_normal((192, 4)).astype(np.float32),
            "n": np.random.default_rng(2).standard_normal((5, 4)).astype(np.float32),
            "c": BIAS[:5],
        },
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_operator_gives_what_onnx_runtime_gives(build, run, rng, name):
    body, weights = BODIES[name]
    artifact = build(PICTURE.format(body), **weights)
    x = rng().standard_normal((2, 3, 8, 8)).astype(np.float32)

    found = TorchGraph(artifact.model).run(torch.from_numpy(x), ["y"])["y"]

    np.testing.assert_allclose(found.numpy(), run(artifact, x)["y"], rtol=1e-5, atol=1e-5)


def test_every_value_of_a_network_can_be_asked_for(network, values_of, photos):
    names = float_values(network.model)

    found = TorchGraph(network.model).run(torch.from_numpy(photos), names)

    expected = values_of(network, photos)
    for name in names:
        np.testing.assert_allclose(found[name].numpy(), expected[name], rtol=1e-4, atol=1e-5)


def test_an_unknown_operator_is_refused_by_name(vector):
    with pytest.raises(ModelError, match="Atan 'node_y' cannot be simulated"):
        TorchGraph(vector("y = Atan(x)").model)


def test_a_value_that_is_not_there_is_refused(network, photos):
    with pytest.raises(ModelError, match="does not compute nothing"):
        TorchGraph(network.model).run(torch.from_numpy(photos), ["nothing"])


def test_an_operator_used_in_an_unknown_way_is_refused_by_name(build, photos):
    text = PICTURE.format('y = Pad<mode="reflect">(x, pads)')
    graph = TorchGraph(build(text, pads=np.array([0, 0, 1, 1, 0, 0, 1, 1])).model)

    with pytest.raises(ModelError, match="Pad 'node_y' cannot be simulated"):
        graph.run(torch.zeros(2, 3, 8, 8), ["y"])
