import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.bundle.accuracy import paired_accuracy
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.segmentation import Segmentation


def measure(was_right, is_right):
    return paired_accuracy(Classification().metric, list(was_right), list(is_right))


def pairs(kept=0, lost=0, gained=0, neither=0):
    was = [1] * kept + [1] * lost + [0] * gained + [0] * neither
    now = [1] * kept + [0] * lost + [1] * gained + [0] * neither
    return was, now


@pytest.mark.parametrize(
    ("lost", "gained", "samples", "drop", "low", "high"),
    [
        # n* = 102, b* = 5.5, c* = 1.5: 4/102 ± 1.959964·sqrt(7 - 16/102)/102
        (5, 1, 100, 4.0, -1.105046, 8.948183),
        # n* = 1002, b* = 12.5, c* = 3.5: 9/1002 ± 1.959964·sqrt(16 - 81/1002)/1002
        (12, 3, 1000, 0.9, 0.117762, 1.678645),
        # n* = 52, b* = 0.5, c* = 2.5: -2/52 ± 1.959964·sqrt(3 - 4/52)/52
        (0, 2, 50, -4.0, -10.290292, 2.597985),
        # n* = 12, b* = c* = 0.5: 0 ± 1.959964/12
        (0, 0, 10, 0.0, -16.333033, 16.333033),
    ],
)
def test_interval_of_agresti_and_min(lost, gained, samples, drop, low, high):
    accuracy = measure(*pairs(kept=samples - lost - gained, lost=lost, gained=gained))
    assert accuracy.drop == pytest.approx(drop)
    assert accuracy.ci95 == pytest.approx((low, high), abs=2e-6)
    assert accuracy.samples == samples


def test_top1_is_the_candidates_own_share_in_percent():
    accuracy = measure(*pairs(kept=5, lost=2, gained=1, neither=2))
    assert accuracy.top1 == pytest.approx(60.0)
    assert accuracy.drop == pytest.approx(10.0)


def test_maps_are_measured_by_the_classes_of_all_samples_together():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    worse = np.array([[0, 0, 0, 1]], np.uint8)
    metric = Segmentation().metric
    right, wrong = metric.count(truth, truth), metric.count(truth, worse)
    accuracy = paired_accuracy(metric, [right] * 4, [right, right, wrong, wrong])
    assert accuracy.metric == "mIoU"
    assert accuracy.value == pytest.approx(100 * (8 / 10 + 6 / 8) / 2)
    low, high = accuracy.ci95
    assert low <= accuracy.drop <= high
    assert accuracy.top1 is None


def test_nothing_to_judge_is_no_accuracy():
    with pytest.raises(ValueError, match="mIoU cannot be judged"):
        paired_accuracy(Segmentation().metric, [], [])


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


@given(outcomes)
@settings(max_examples=100)
def test_the_interval_holds_the_drop_and_stays_within_100_points(pairs):
    accuracy = measure(*zip(*pairs, strict=True))
    low, high = accuracy.ci95
    assert -100 <= low <= accuracy.drop + 1e-9
    assert accuracy.drop - 1e-9 <= high <= 100


@given(outcomes)
@settings(max_examples=100)
def test_exchanging_reference_and_candidate_mirrors_the_interval(pairs):
    was, now = zip(*pairs, strict=True)
    forth, back = measure(was, now), measure(now, was)
    assert back.drop == pytest.approx(-forth.drop)
    assert back.ci95 == pytest.approx((-forth.ci95[1], -forth.ci95[0]))


@given(st.integers(1, 500))
@settings(max_examples=50)
def test_identical_answers_are_no_drop_but_still_uncertain(samples):
    accuracy = measure(*pairs(kept=samples))
    assert accuracy.drop == 0
    assert accuracy.ci95[0] == pytest.approx(-accuracy.ci95[1])
    assert accuracy.ci95[1] > 0


def test_more_pictures_narrow_the_interval():
    widths = [measure(*pairs(kept=98 * n, lost=2 * n)).ci95 for n in (1, 10, 100)]
    spans = [high - low for low, high in widths]
    assert spans == sorted(spans, reverse=True)


@pytest.mark.parametrize(("lost", "gained"), [(0.01, 0.0), (0.03, 0.01), (0.1, 0.1)])
def test_the_interval_covers_the_true_drop_about_95_times_in_100(lost, gained):
    random = np.random.default_rng(11)
    covered, repeats = 0, 600
    for _ in range(repeats):
        draw = random.random(300)
        is_lost = draw < lost
        is_gained = (draw >= lost) & (draw < lost + gained)
        low, high = measure(~is_gained, ~is_lost).ci95
        covered += low <= 100 * (lost - gained) <= high
    assert covered / repeats >= 0.93


def test_sixty_six_same_answers_do_not_hold_a_budget_of_one_point():
    accuracy = measure(*pairs(kept=66))
    assert accuracy.within(1) is None
    more = accuracy.samples_to_decide(1)
    assert measure(*pairs(kept=66 + more)).within(1)
    assert measure(*pairs(kept=66 + more - 1)).within(1) is None


@given(st.integers(1, 200), st.integers(0, 20), st.integers(0, 20), st.sampled_from([0.5, 1, 3]))
@settings(max_examples=50, deadline=None)
def test_so_many_samples_that_answer_alike_would_decide(kept, lost, gained, budget):
    accuracy = measure(*pairs(kept=kept, lost=lost, gained=gained))
    more = accuracy.samples_to_decide(budget)
    assert (more == 0) == (accuracy.within(budget) is not None)
    if more:
        times = -(-(accuracy.samples + more) // accuracy.samples)
        assert (
            measure(*pairs(kept=kept * times, lost=lost * times, gained=gained * times)).within(budget)
            is not None
        )


def test_a_budget_that_is_lost_or_kept_for_certain():
    accuracy = measure(*pairs(kept=500, lost=500))
    assert accuracy.within(1) is False
    assert accuracy.within(60) is True
    assert accuracy.within(50) is None
    assert (accuracy.lost, accuracy.gained) == (500, 0)
