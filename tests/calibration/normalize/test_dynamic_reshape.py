"""Reshapes that keep the batch take any."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.normalize.dynamic_reshape import keep_batch
from edgeproof.calibration.normalize.passes import normalize
from edgeproof.calibration.onnx_graph.graph import array_of, initializers

TEXT = "g (float[{batch},2,3,2] x) => (float[{batch},{sides}] y) {{ r = Relu(x) y = Reshape(r, shape) }}"


@pytest.fixture(scope="module")
def reshape(build):
    """A normalized model that reshapes, of a fixed batch."""

    def reshape(batch, shape, sides):
        return normalize(build(TEXT.format(batch=batch, sides=sides), shape=np.array(shape)).model)

    return reshape


@given(batch=st.integers(1, 5), other=st.integers(1, 7), rest=st.sampled_from([[12], [-1], [3, 4], [-1, 6]]))
def test_the_model_answers_as_before_and_takes_other_batches(reshape, run, batch, other, rest):
    sides = ",".join("s" if side < 0 else str(side) for side in rest)
    model = reshape(batch, [batch, *rest], sides)

    kept = keep_batch(model)

    onnx.checker.check_model(kept, full_check=True)
    x = np.arange(batch * 12, dtype=np.float32).reshape(batch, 2, 3, 2)
    wanted = run(OnnxArtifact(model, "fixed"), x)["y"]
    np.testing.assert_array_equal(run(OnnxArtifact(kept, "kept"), x)["y"], wanted)
    for info in (*kept.graph.input, *kept.graph.output):
        info.type.tensor_type.shape.dim[0].dim_param = "any"
    kept.graph.ClearField("value_info")
    x = np.zeros((other, 2, 3, 2), np.float32)
    assert run(OnnxArtifact(kept, "free"), x)["y"].shape == (other, *wanted.shape[1:])


def test_a_shape_that_another_node_reads_is_left_to_it(build):
    text = """g (float[2,2,3,2] x) => (float[2,12] y, int64[2] z) {
        r = Relu(x) y = Reshape(r, shape) s = Shape(y) z = Add(s, shape)
    }"""

    kept = keep_batch(normalize(build(text, shape=np.array([2, 12])).model))

    shapes = initializers(kept)
    assert array_of(shapes["shape"]).tolist() == [2, 12]
    assert array_of(shapes["y.shape"]).tolist() == [0, 12]


@pytest.mark.parametrize(
    ("batch", "shape", "sides"), [("n", [-1, 12], "12"), (2, [-1, 12], "12"), (2, [0, 12], "12")]
)
def test_other_reshapes_stay(reshape, batch, shape, sides):
    model = reshape(batch, shape, sides)
    assert keep_batch(model) == model


def test_a_reshape_that_moves_the_batch_stays(build):
    text = "g (float[2,2,3,2] x) => (float[4,6] y) { r = Relu(x) y = Reshape(r, shape) }"
    model = normalize(build(text, shape=np.array([4, 6])).model)
    assert keep_batch(model) == model
