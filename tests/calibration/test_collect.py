import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.calibration.collect import Range, collect_ranges
from edgeproof.runtime.errors import DataError, InputError

AFFINE = """
affine (float[batch,4] x) => (float[batch,4] y) {
    doubled = Mul(x, two)
    y = Add(doubled, shift)
}"""
SHIFT = np.array([0.5, -0.25, 0.0, 1.0], np.float32)


@pytest.fixture(scope="module")
def affine(build):
    return build(AFFINE, two=np.float32(2), shift=SHIFT).model


@pytest.fixture(scope="module")
def samples(rng):
    return rng(3).standard_normal((20, 4)).astype(np.float32)


def exact(values):
    return Range(float(values.min()), float(values.max()))


def test_ranges_are_numpys_minimum_and_maximum(affine, samples):
    assert collect_ranges(affine, [samples[:7], samples[7:]]) == {
        "x": exact(samples),
        "doubled": exact(samples * 2),
        "y": exact(samples * 2 + SHIFT),
    }


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 19), unique=True, max_size=8))
def test_any_split_into_batches_gives_the_same_ranges(affine, samples, cuts):
    batches = np.split(samples, sorted(cuts))
    assert collect_ranges(affine, batches) == collect_ranges(affine, [samples])


def test_every_float_value_of_a_network_is_measured(network, photos, values_of):
    ranges = collect_ranges(network.model, np.split(photos, [5]))
    values = {**values_of(network, photos), "image": photos}
    assert ranges.keys() == values.keys()
    for name, value in values.items():
        assert ranges[name].absmax == pytest.approx(np.abs(value).max(), rel=1e-5)


def test_an_extreme_in_any_batch_counts(affine, samples):
    spiked = samples.copy()
    spiked[13, 2] = -1000
    assert collect_ranges(affine, np.split(spiked, 5))["doubled"].low == -2000


def test_values_that_are_not_float32_are_left_out(build, samples):
    model = build(
        "g (float[batch,4] x) => (float[batch,4] y) { size = Shape(x) h = Cast<to=10>(x) y = Cast<to=1>(h) }"
    ).model
    assert collect_ranges(model, [samples]).keys() == {"x", "y"}


def test_batches_may_be_a_generator(affine, samples):
    assert collect_ranges(affine, (row[None] for row in samples)) == collect_ranges(affine, [samples])


def test_a_constant_activation_has_a_range(build, samples):
    model = build("g (float[batch,4] x) => (float[batch,4] y) { y = Mul(x, zero) }", zero=np.float32(0)).model
    assert collect_ranges(model, [samples])["y"].absmax == 0


def test_the_range_of_a_value_that_is_never_zero_does_not_reach_zero(build, samples):
    model = build("g (float[batch,4] x) => (float[batch,4] y) { y = Sigmoid(x) }").model
    assert collect_ranges(model, [samples])["y"].low > 0


def test_no_batches_are_refused(affine):
    with pytest.raises(DataError, match="no calibration samples"):
        collect_ranges(affine, [])


def test_batches_without_samples_are_refused(affine, samples):
    with pytest.raises(DataError, match="no calibration samples"):
        collect_ranges(affine, [samples[:0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_is_refused(affine, samples, bad):
    broken = samples.copy()
    broken[3, 1] = bad
    with pytest.raises(DataError, match="NaN or Inf"):
        collect_ranges(affine, [samples, broken])


@pytest.fixture(scope="module")
def breaking(build):
    """A model whose value `broken` holds, for every input, what the operator makes with the weight."""
    text = "g (float[batch,4] x) => (float[batch,4] y) {{ broken = {}(x, w) y = Clip(broken, low, low) }}"
    return lambda operator, weight: (
        build(text.format(operator), w=np.float32(weight), low=np.float32(0)).model
    )


@pytest.mark.parametrize(
    ("operator", "weight"), [("Div", 0.0), ("Add", -np.inf)], ids=["plus inf", "minus inf"]
)
def test_an_infinite_value_is_named(breaking, samples, operator, weight):
    with pytest.raises(DataError, match="'broken' is NaN or Inf"):
        collect_ranges(breaking(operator, weight), [samples])


def test_of_a_nan_that_spreads_the_first_value_is_named(breaking, samples):
    with pytest.raises(DataError, match="'broken' is NaN or Inf"):
        collect_ranges(breaking("Mul", np.nan), [samples])


@pytest.mark.parametrize(
    "batch", [np.zeros((2, 5), np.float32), np.zeros((2, 4), np.float64)], ids=["shape", "dtype"]
)
def test_a_batch_that_does_not_fit_the_model_is_refused(affine, batch):
    with pytest.raises(InputError, match="does not fit"):
        collect_ranges(affine, [batch])


def test_collecting_does_not_change_the_model(network, photos):
    before = network.model.SerializeToString(deterministic=True)
    collect_ranges(network.model, [photos])
    assert network.model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("low", "high", "absmax"), [(-3, 2, 3), (-1, 2, 2), (1, 4, 4), (-4, -1, 4), (0, 0, 0)]
)
def test_absmax_is_the_largest_magnitude(low, high, absmax):
    assert Range(low, high).absmax == absmax


finite = st.floats(-1e6, 1e6)
spans = st.tuples(finite, finite).map(lambda ends: Range(min(ends), max(ends)))


@given(spans, spans)
def test_a_union_is_the_smallest_range_that_holds_both(one, other):
    joined = one.union(other)
    assert joined == other.union(one)
    assert {joined.low, joined.high} <= {one.low, one.high, other.low, other.high}
    assert all(joined.low <= part.low <= part.high <= joined.high for part in (one, other))
