"""Small models in ONNX's text form, inputs that look like pictures, and what every result must satisfy."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper, parser

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.onnx_graph.graph import expose, float_values
from edgeproof.runtime.session.session import Session

NETWORK = """
network (float[batch,3,16,16] image) => (float[batch,5] logits) {
    conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
    relu = Relu(conv)
    depthwise = Conv<pads=[1,1,1,1], group=8>(relu, depthwise_w, depthwise_b)
    swish = HardSwish(depthwise)
    squeeze = GlobalAveragePool(swish)
    excite = Conv(squeeze, excite_w, excite_b)
    gate = HardSigmoid<alpha=0.1666667, beta=0.5>(excite)
    scaled = Mul(swish, gate)
    residual = Add(relu, scaled)
    pool = GlobalAveragePool(residual)
    flat = Flatten(pool)
    logits = Gemm<transB=1>(flat, head_w, head_b)
}"""


@pytest.fixture(scope="session")
def rng():
    """Makes a random generator that starts the same in every test."""
    return lambda seed=0: np.random.default_rng(seed)


@pytest.fixture(scope="session")
def build():
    """Builds an artifact from a graph's text and its initializers; the node that makes `v` is `node_v`."""

    def build(text, *, opset=20, **weights):
        header = f'<ir_version: 10, opset_import: ["": {opset}, "custom": 1]>\n'
        model = parser.parse_model(header + text)
        for name, values in weights.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        for node in model.graph.node:
            node.name = f"node_{node.output[0]}"
        return OnnxArtifact(model, "export")

    return build


@pytest.fixture(scope="session")
def vector(build):
    """An artifact over float[batch,4] whose last value is `y`."""
    text = "g (float[batch,4] x) => (float[batch,4] y) {{ {} }}"
    return lambda body, **weights: build(text.format(body), **weights)


@pytest.fixture(scope="session")
def he_normal():
    """Draws weights whose layers keep the size of their inputs, from a generator."""

    def he_normal(random):
        def draw(*shape):
            return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

        return draw

    return he_normal


@pytest.fixture(scope="session")
def network_weights(rng, he_normal):
    """Initializers of `NETWORK`, scaled so that its values stay near 1."""
    normal = he_normal(rng(1))

    return {
        "conv_w": normal(8, 3, 3, 3),
        "conv_b": normal(8) * np.float32(0.1),
        "depthwise_w": normal(8, 1, 3, 3),
        "depthwise_b": normal(8) * np.float32(0.1),
        "excite_w": normal(8, 8, 1, 1),
        "excite_b": normal(8) * np.float32(0.1),
        "head_w": normal(5, 8),
        "head_b": normal(5),
    }


@pytest.fixture(scope="session")
def network(build, network_weights):
    """A residual block with squeeze-and-excite, and a classifier."""
    return build(NETWORK, **network_weights)


@pytest.fixture(scope="session")
def change_network(build, network_weights):
    """Builds `NETWORK` with a part of its text, or some of its weights, replaced."""

    def change(old="", new="", **weights):
        assert old in NETWORK
        return build(NETWORK.replace(old, new) if old else NETWORK, **{**network_weights, **weights})

    return change


@pytest.fixture(scope="session")
def photos(rng):
    """Twelve smooth, normalized pictures of different brightness and contrast."""
    random = rng(2)
    coarse = random.uniform(0, 1, (12, 3, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    contrast = random.uniform(0.3, 1, (12, 1, 1, 1))
    pixels = np.clip(coarse * contrast + random.normal(0, 0.02, coarse.shape), 0, 1)
    return ((pixels - 0.45) / 0.23).astype(np.float32)


@pytest.fixture(scope="session")
def pictures(photos, rng):
    """Twenty different smooth pictures, enough to calibrate with."""
    weights = rng(4).dirichlet(np.ones(len(photos)), 20)
    return np.tensordot(weights, photos, 1).astype(np.float32)


@pytest.fixture(scope="session")
def run():
    """Outputs of a model, or of an artifact, on one batch, each node computed as it is written."""

    def run(model, batch):
        data = model.data if isinstance(model, OnnxArtifact) else model.SerializeToString()
        with Session(data, optimize=False) as session:
            return session.run(batch)

    return run


@pytest.fixture(scope="session")
def values_of(run):
    """Every float value of a model, or of an artifact, on one batch, by name."""

    def values_of(model, batch):
        model = model.model if isinstance(model, OnnxArtifact) else model
        return run(expose(model, float_values(model)), batch)

    return values_of


@pytest.fixture(scope="session")
def relative_error():
    """Norm of the difference over norm of the reference."""

    def relative_error(reference, candidate):
        wanted, got = reference.astype(np.float64), candidate.astype(np.float64)
        return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)

    return relative_error


@pytest.fixture(scope="session")
def interface():
    """Names, element types and shapes of a model's inputs and outputs."""

    def interface(model):
        return [
            (
                info.name,
                info.type.tensor_type.elem_type,
                [axis.dim_param or axis.dim_value for axis in info.type.tensor_type.shape.dim],
            )
            for info in (*model.graph.input, *model.graph.output)
        ]

    return interface


@pytest.fixture(scope="session")
def weight_bytes():
    """Bytes of all initializers."""
    return lambda model: sum(numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)


@pytest.fixture(scope="session")
def assert_sound_child(interface):
    """What every stage promises: a valid model, the same face to the world, and a known parent."""

    def assert_sound_child(child, parent, stage):
        onnx.checker.check_model(child.model, full_check=True)
        assert interface(child.model) == interface(parent.model)
        assert {kind for _, kind, _ in interface(child.model)} == {TensorProto.FLOAT}
        assert (child.stage, child.precision) == (stage, stage)
        assert child.parent == hashlib.sha256(parent.model.SerializeToString(deterministic=True)).hexdigest()
        names = [tensor.name for tensor in child.model.graph.initializer]
        assert len(names) == len(set(names))
        assert set(names) <= {name for node in child.model.graph.node for name in node.input}

    return assert_sound_child


@pytest.fixture(autouse=True)
def no_compiler_to_compare_placements(monkeypatch):
    """The choice of a placement is then the same on every machine, and no engine is built for it."""
    monkeypatch.setattr("edgeproof.calibration.targets.placement_trial.is_installed", lambda: False)
