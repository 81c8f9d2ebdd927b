import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.bench.latency import percentile, summarize_latency

SECONDS = st.lists(st.floats(1e-6, 10), min_size=1, max_size=300)
PERMILLES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990, "p99_9": 999}


@given(SECONDS, st.integers(1, 999))
def test_a_percentile_is_the_least_sample_that_its_share_does_not_exceed(samples, permille):
    ordered = sorted(samples)
    value = percentile(ordered, permille)
    if value is None:
        assert len(samples) * (1000 - permille) < 1000
        return
    assert value in samples
    assert sum(s <= value for s in samples) * 1000 >= permille * len(samples)
    assert sum(s < value for s in samples) * 1000 < permille * len(samples)


@given(SECONDS)
def test_percentiles_rise_and_lie_among_the_samples(samples):
    latency = summarize_latency(samples)
    known = [value for name in PERMILLES if (value := getattr(latency, name)) is not None]
    assert known == sorted(known)
    assert latency.least <= latency.mean <= latency.most
    assert all(latency.least <= value <= latency.most for value in known)
    assert latency.samples == len(samples)


@given(SECONDS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(samples, random):
    shuffled = random.sample(samples, len(samples))
    assert summarize_latency(shuffled) == summarize_latency(samples)


@pytest.mark.parametrize(
    ("name", "enough"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100), ("p99_9", 1000)]
)
def test_a_percentile_is_given_only_with_enough_samples(name, enough):
    milliseconds = np.arange(1, enough + 1)
    assert getattr(summarize_latency(milliseconds[:-1] / 1000), name) is None
    value = getattr(summarize_latency(milliseconds / 1000), name)
    assert value == pytest.approx(enough * PERMILLES[name] / 1000)


def test_latencies_are_in_milliseconds():
    latency = summarize_latency([0.002, 0.001])
    assert (latency.least, latency.p50, latency.most) == (1.0, 1.0, 2.0)
