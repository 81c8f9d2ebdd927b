"""Batch norms folded into the layer before them: only where that changes no answer."""

import numpy as np
import pytest

from edgeproof.calibration.normalize.passes import normalize


@pytest.fixture
def normed(build, rng):
    """A convolution and a batch norm with these attributes, as a graph's text has them."""
    random = rng(7)
    weights = {
        "w": random.standard_normal((3, 2, 1, 1)).astype(np.float32),
        "scale": random.uniform(0.5, 2, 3).astype(np.float32),
        "shift": random.standard_normal(3).astype(np.float32),
        "mean": random.standard_normal(3).astype(np.float32),
        "variance": random.uniform(0.5, 2, 3).astype(np.float32),
    }

    def normed(attributes="", outputs="y"):
        body = f"c = Conv(x, w) {outputs} = BatchNormalization{attributes}(c, scale, shift, mean, variance)"
        return build(f"g (float[batch,2,4,4] x) => (float[batch,3,4,4] y) {{ {body} }}", **weights).model

    return normed


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.fixture
def images(rng):
    return rng(8).standard_normal((5, 2, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("attributes", ["", "<epsilon=0.1>", "<training_mode=0>"])
def test_a_batch_norm_is_folded_into_its_convolution(normed, run, images, attributes):
    before = normed(attributes)
    after = normalize(before)
    assert kinds(after) == ["Conv"]
    np.testing.assert_allclose(run(after, images)["y"], run(before, images)["y"], rtol=1e-4, atol=1e-5)


def test_one_in_training_mode_is_left_for_it_goes_by_the_batch(normed, run, images):
    """Folded it would go by the running mean, which is another function of the input."""
    before = normed("<training_mode=1>", "y, running_mean, running_variance")
    after = normalize(before)
    assert kinds(after) == ["Conv", "BatchNormalization"]
    np.testing.assert_allclose(run(after, images)["y"], run(before, images)["y"], rtol=1e-4, atol=1e-5)


def test_even_where_it_puts_out_nothing_else(normed):
    assert kinds(normalize(normed("<training_mode=1>"))) == ["Conv", "BatchNormalization"]


@pytest.mark.parametrize("kind", ["Conv<pads = [1, 1, 1, 1]>", "ConvTranspose<pads = [1, 1, 1, 1]>"])
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("added", ["Add(c, b)", "Add(b, c)"])
def test_a_bias_between_a_convolution_and_its_batch_norm_goes_into_both(build, run, rng, kind, shape, added):
    random = rng(7)
    sides = (3, 3, 3, 3)
    weights = {name: random.uniform(0.5, 2, 3).astype(np.float32) for name in ("s", "h", "m", "v")}
    weights |= {"w": random.standard_normal(sides).astype(np.float32)}
    weights |= {"b": random.standard_normal(shape).astype(np.float32)}
    body = f"c = {kind}(x, w) a = {added} y = BatchNormalization(a, s, h, m, v)"
    before = build(f"g (float[batch,3,4,4] x) => (float[batch,3,4,4] y) {{ {body} }}", **weights).model
    after = normalize(before)
    assert kinds(after) == [kind.partition("<")[0]]
    images = random.standard_normal((5, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(after, images)["y"], run(before, images)["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(), (1, 4), (4, 4), (3, 4, 4)])
def test_what_is_added_to_places_is_no_bias(build, run, rng, shape):
    random = rng(7)
    weights = {"w": random.standard_normal((3, 3, 1, 1)), "b": np.asarray(random.standard_normal(shape))}
    text = "g (float[batch,3,4,4] x) => (float[batch,3,4,4] y) { c = Conv(x, w) y = Add(c, b) }"
    before = build(text, **{name: value.astype(np.float32) for name, value in weights.items()}).model
    after = normalize(before)
    assert kinds(after) == ["Conv", "Add"]
    images = random.standard_normal((5, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(run(after, images)["y"], run(before, images)["y"], rtol=1e-5, atol=1e-5)
