import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.calibration.ranges.statistics import PER_SAMPLE, Range, collect_ranges, collect_statistics
from edgeproof.runtime.errors import DataError, InputError, ModelError

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


@settings(max_examples=25)
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


def same_histograms(one, other):
    assert one.keys() == other.keys()
    for name, histogram in one.items():
        assert (histogram.counts == other[name].counts).all()
        assert histogram.exponent == other[name].exponent
        assert (histogram.low, histogram.high) == (other[name].low, other[name].high)


def test_only_what_was_asked_for_has_a_histogram(affine, samples):
    statistics = collect_statistics(affine, [samples], ["x", "doubled"])
    assert statistics.histograms.keys() == {"x", "doubled"}
    assert statistics.ranges == collect_ranges(affine, [samples])
    assert statistics.samples == len(samples)


def test_small_tensors_are_counted_whole(affine, samples):
    statistics = collect_statistics(affine, np.split(samples, 4), ["doubled"])
    assert statistics.histograms["doubled"].counts.sum() == samples.size


@pytest.fixture(scope="module")
def large(build):
    """A model of one value that is far larger than what is counted of it."""
    return build(
        "g (float[batch,3,64,96] x) => (float[batch,3,64,96] y) { y = Mul(x, two) }", two=np.float32(2)
    ).model


@pytest.fixture(scope="module")
def pictures(rng):
    return rng(5).standard_normal((6, 3, 64, 96)).astype(np.float32)


@settings(max_examples=15)
@given(order=st.permutations(range(6)), cuts=st.lists(st.integers(1, 5), unique=True, max_size=3))
def test_neither_order_nor_batches_change_the_counts(large, pictures, order, cuts):
    shuffled = np.split(pictures[list(order)], sorted(cuts))
    found = collect_statistics(large, shuffled, ["y"])
    expected = collect_statistics(large, [pictures], ["y"])
    same_histograms(found.histograms, expected.histograms)
    assert found.ranges == expected.ranges


def test_of_a_large_tensor_a_sample_is_counted_but_its_extremes_are_exact(large, pictures):
    spiked = pictures.copy()
    spiked[2, 1, 7, 7] = 50
    histogram = collect_statistics(large, np.split(spiked, 6), ["y"]).histograms["y"]
    assert 6 * PER_SAMPLE / 3 < histogram.counts.sum() <= 6 * PER_SAMPLE
    assert histogram.high == 100


def test_the_sample_of_a_large_tensor_takes_part_of_every_channel_row_and_column(large):
    axes = [np.zeros((3, 64, 96), np.float32) for _ in range(3)]
    for axis, values in enumerate(axes):
        values += np.arange(1, values.shape[axis] + 1, dtype=np.float32).reshape(np.roll([-1, 1, 1], axis))
    for values in axes:
        counts = collect_statistics(large, [values[None]], ["x"]).histograms["x"].counts
        taken = counts[counts > 0]
        assert len(taken) == values.max()
        assert taken.max() / taken.min() < 1.5


def test_a_sample_is_distributed_like_the_whole(large, pictures):
    histogram = collect_statistics(large, [pictures], ["y"]).histograms["y"]
    below = histogram.counts[histogram.centres < 1].sum() / histogram.counts.sum()
    assert below == pytest.approx(np.mean(2 * pictures < 1), abs=0.01)


def test_a_reader_may_fill_the_same_array_again(affine, samples):
    def reuse():
        batch = np.empty((1, 4), np.float32)
        for sample in samples:
            batch[:] = sample
            yield batch

    found, expected = (collect_statistics(affine, given, ["x"]) for given in (reuse(), [samples]))
    same_histograms(found.histograms, expected.histograms)


def test_a_value_whose_first_axis_is_not_the_batch_is_counted(build, samples):
    model = build(
        "g (float[batch,4] x) => (float[8,batch] y) { t = Transpose(x) y = Concat<axis=0>(t, t) }"
    ).model
    assert collect_statistics(model, [samples], ["y"]).histograms["y"].counts.sum() == 2 * samples.size


def test_a_value_that_is_not_there_cannot_be_counted(affine, samples):
    with pytest.raises(ModelError, match="not float values of the model"):
        collect_statistics(affine, [samples], ["doubled", "tripled"])
