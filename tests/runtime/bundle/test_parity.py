import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeproof.runtime.bundle.parity import (
    TF32_TOLERANCE,
    TOLERANCES,
    Parity,
    Tolerance,
    compare,
    compare_outputs,
    worst,
)
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.outputs import specs_of
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.tasks.segmentation import Segmentation

LOOSE = Tolerance(relative_l2=0.5, agreement=0.0)
STRICT = TOLERANCES["fp32"]

seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(2, 2), (5, 10), (8, 3), (3, 4, 5), (4, 1), (6,)])
magnitudes = st.integers(-9, 9).map(lambda exponent: 10.0**exponent)


def draw(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def off_by(reference, relative, seed=0):
    """The reference with an error of this relative size."""
    noise = draw(seed + 1, reference.shape)
    signal = np.linalg.norm(reference - reference.mean(axis=0))
    return reference + noise * (relative * signal / np.linalg.norm(noise))


def judge(reference, candidate, tolerance, task=None):
    """Compare outputs by name, or one array as the only output, as a task has it."""
    if isinstance(reference, np.ndarray):
        reference, candidate = {"output": reference}, {"output": candidate}
    return compare_outputs(reference, candidate, tolerance, task or Classification(), specs_of(reference))


def test_without_a_name_it_is_called_the_output():
    assert compare(draw(0, (2, 2)), draw(1, (2, 2)), LOOSE).output == "output"
    assert Parity(True, "", 2, LOOSE).output == "output"


@pytest.mark.parametrize(("shape", "samples"), [((), 0), ((1,), 1), ((3, 2), 3)])
def test_samples_are_counted_though_they_cannot_be_compared(shape, samples):
    assert compare(np.zeros(shape), np.zeros((9, 9)), LOOSE).samples == samples


def test_tf32_may_differ_half_as_much_as_fp16():
    fp16 = TOLERANCES["fp16"]
    assert TF32_TOLERANCE.relative_l2 == fp16.relative_l2 / 2
    assert TF32_TOLERANCE.agreement == fp16.agreement


# --- numbers worked out by hand ---------------------------------------------------------------------


def test_numbers_of_a_comparison():
    reference = np.array([[3.0, 0.0], [0.0, 4.0]])
    candidate = np.array([[3.0, 1.0], [0.0, 2.0]])
    parity = compare(reference, candidate, LOOSE, output="logits")
    # error [[0, 1], [0, -2]]; the mean over the samples is [1.5, 2], the signal [[1.5, -2], [-1.5, 2]]
    assert parity.max_abs == 2.0
    assert parity.mean_abs == 0.75
    assert parity.relative_l2 == pytest.approx(math.sqrt(5) / math.sqrt(12.5))
    assert parity.sqnr_db == pytest.approx(20 * math.log10(5 / math.sqrt(5)))
    assert parity.cosine == pytest.approx((9 + 8) / (5 * math.sqrt(14)))
    assert parity.agreement is None  # no task was given
    assert parity.samples == 2
    assert parity.output == "logits"
    assert parity.tolerance == LOOSE


def test_a_candidate_far_smaller_than_the_reference_has_a_cosine():
    reference = draw(3, (4, 5))
    assert compare(reference, reference * 1e-6, LOOSE).cosine == pytest.approx(1)


def test_an_error_of_a_hundredth_is_40_db_and_of_a_thousandth_60():
    reference = np.array([[1.0, -1.0], [-1.0, 1.0]])  # its mean is 0, so that signal and reference coincide
    for factor, decibels in ((1.01, 40.0), (0.999, 60.0)):
        parity = compare(reference, factor * reference, LOOSE)
        assert parity.sqnr_db == pytest.approx(decibels)
        assert parity.relative_l2 == pytest.approx(10 ** (-decibels / 20))
        assert parity.cosine == pytest.approx(1.0)


def test_the_opposite_answer_has_cosine_minus_one():
    reference = draw(0, (4, 3))
    assert compare(reference, -reference, LOOSE).cosine == pytest.approx(-1.0)


def test_no_cosine_where_the_candidate_is_zero():
    reference = draw(0, (4, 3))
    parity = compare(reference, np.zeros_like(reference), LOOSE)
    assert not parity
    assert parity.cosine is None
    assert parity.sqnr_db == pytest.approx(0.0)


# --- what passes ------------------------------------------------------------------------------------


@given(seeds, shapes, st.sampled_from(sorted(TOLERANCES)), st.sampled_from(["float16", "float32", "float64"]))
@settings(max_examples=60)
def test_identical_outputs_pass(seed, shape, precision, dtype):
    reference = draw(seed, shape).astype(dtype)
    parity = compare(reference, reference.copy(), TOLERANCES[precision])
    assert parity
    assert (parity.reason, parity.max_abs, parity.relative_l2) == ("", 0.0, 0.0)
    assert parity.sqnr_db is None


@pytest.mark.parametrize("precision", sorted(TOLERANCES))
def test_an_error_within_the_tolerance_passes_and_one_above_fails(precision):
    tolerance = Tolerance(TOLERANCES[precision].relative_l2, 0.0)
    reference = draw(1, (20, 10))
    within = compare(reference, off_by(reference, 0.9 * tolerance.relative_l2), tolerance)
    above = compare(reference, off_by(reference, 1.1 * tolerance.relative_l2), tolerance)
    assert within
    assert not above
    assert f"is above {tolerance.relative_l2:g}" in above.reason


def test_tolerances_loosen_with_the_precision():
    errors = [TOLERANCES[precision].relative_l2 for precision in ("fp32", "fp16", "int8")]
    agreements = [TOLERANCES[precision].agreement for precision in ("fp32", "fp16", "int8")]
    assert errors == sorted(errors)
    assert agreements == sorted(agreements, reverse=True)


# --- laws -------------------------------------------------------------------------------------------


@given(seeds, shapes, magnitudes, st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0, 10.0]))
@settings(max_examples=100)
def test_the_unit_of_the_output_does_not_matter(seed, shape, magnitude, error):
    reference = draw(seed, shape)
    candidate = off_by(reference, error, seed)
    plain = compare(reference, candidate, STRICT)
    scaled = compare(magnitude * reference, magnitude * candidate, STRICT)
    assert bool(plain) == bool(scaled)
    assert scaled.relative_l2 == pytest.approx(plain.relative_l2, rel=1e-6)


@given(seeds, shapes, st.floats(-100, 100), st.sampled_from([1e-6, 1e-3, 0.1, 1.0]))
@settings(max_examples=100)
def test_a_constant_added_to_both_hides_no_error(seed, shape, constant, error):
    reference = draw(seed, shape)
    candidate = off_by(reference, error, seed)
    plain = compare(reference, candidate, STRICT)
    shifted = compare(reference + constant, candidate + constant, STRICT)
    assert bool(plain) == bool(shifted)
    assert shifted.relative_l2 == pytest.approx(plain.relative_l2, rel=1e-4)


@given(seeds, shapes)
@settings(max_examples=40)
def test_the_order_of_the_samples_does_not_matter(seed, shape):
    reference = draw(seed, shape)
    candidate = off_by(reference, 0.01, seed)
    order = np.random.default_rng(seed).permutation(shape[0])
    plain = compare(reference, candidate, STRICT)
    shuffled = compare(reference[order], candidate[order], STRICT)
    assert shuffled.relative_l2 == pytest.approx(plain.relative_l2)
    assert bool(shuffled) == bool(plain)


@given(seeds, shapes, st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from(["reference", "candidate"]))
@settings(max_examples=60)
def test_nan_and_inf_never_pass(seed, shape, bad, where):
    arrays = {"reference": draw(seed, shape), "candidate": draw(seed, shape)}
    position = seed % math.prod(shape)
    arrays[where].flat[position] = bad
    parity = compare(arrays["reference"], arrays["candidate"], LOOSE)
    assert not parity
    sample = np.unravel_index(position, shape)[0]
    assert parity.reason == f"the {where} holds 1 NaN or Inf, the first in sample {sample}"
    assert parity.max_abs is None


def test_nan_in_the_same_place_of_both_does_not_pass():
    values = draw(0, (4, 3))
    values[1, 1] = np.nan
    assert not compare(values, values.copy(), LOOSE)


@given(seeds, shapes, shapes)
@settings(max_examples=40)
def test_other_shapes_never_pass(seed, shape, other):
    assume(shape != other)
    parity = compare(draw(seed, shape), draw(seed, other), LOOSE)
    assert not parity
    assert parity.reason == f"the shapes differ: {shape} and {other}"


@pytest.mark.parametrize("other", [(1, 5, 2), (5, 2, 1), (10,), (2, 5)])
def test_a_shape_that_would_broadcast_or_has_as_many_elements_does_not_pass(other):
    values = draw(0, (5, 2))
    assert not compare(values, np.resize(values, other), LOOSE)


# --- what an absolute tolerance would let through ---------------------------------------------------


@pytest.mark.parametrize("precision", sorted(TOLERANCES))
def test_a_tiny_output_with_an_error_of_its_own_size_fails(precision):
    reference = (1e-9 * draw(0, (8, 10))).astype(np.float32)
    candidate = (1e-9 * draw(1, (8, 10))).astype(np.float32)
    parity = compare(reference, candidate, TOLERANCES[precision])
    assert not parity
    assert parity.max_abs < 1e-7
    assert parity.relative_l2 > 0.5


def test_a_constant_that_outweighs_the_answer_does_not_hide_a_wrong_answer():
    bias = 1e6
    parity = compare(bias + draw(0, (8, 10)), bias + draw(1, (8, 10)), LOOSE)
    assert not parity
    assert parity.sqnr_db > 100


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.5, 2.0**-90])
@pytest.mark.parametrize("samples", [2, 4, 8])
def test_a_reference_that_is_the_same_for_every_input_fails(constant, samples):
    reference = np.full((samples, 4), constant) * [1, 2, 3, 4]
    parity = compare(reference, reference.copy(), LOOSE)
    assert not parity
    assert parity.reason.startswith("the reference is the same for every input")
    assert parity.relative_l2 is None


@pytest.mark.parametrize("constant", [0.1, 0.7])
def test_a_constant_reference_fails_though_its_mean_is_rounded(constant):
    reference = np.full((3, 4), constant)
    assert not compare(reference, reference.copy(), LOOSE)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_wrong_answer_too_large_to_square_fails():
    reference = 1e200 * draw(0, (4, 5))
    assert not compare(reference, 1.5 * reference, STRICT)


@pytest.mark.parametrize("shape", [(1, 10), (0, 10), (0,), (1,), (3, 0)])
def test_too_few_samples_prove_nothing(shape):
    values = np.ones(shape)
    parity = compare(values, values.copy(), LOOSE)
    assert not parity
    assert "at least two samples are needed" in parity.reason


def test_a_failure_over_a_weak_signal_asks_whether_the_weights_are_trained():
    reference, noise = draw(0, (8, 10)), draw(1, (8, 10))
    weak = compare(1e6 + reference, 1e6 + noise, LOOSE)
    assert "of the output depends on the input: are the weights trained?" in weak.reason
    assert "trained" not in compare(reference, noise, LOOSE).reason
    assert compare(1e6 + reference, 1e6 + reference, LOOSE).reason == ""


# --- agreement of answers ---------------------------------------------------------------------------


def test_top1_disagreement_fails_though_the_error_is_small():
    reference = np.array([[100.0, 0.0], [0.0, 100.0], [1.0, 1.001], [50.0, -50.0]])
    candidate = reference.copy()
    candidate[2] = [1.001, 1.0]
    parity = judge(reference, candidate, STRICT)
    assert parity.relative_l2 < STRICT.relative_l2
    assert (parity.agreement, parity.top1_agreement) == (0.75, 0.75)
    assert not parity
    assert parity.reason == "top-1 agreement 75.00% is below 100.00%"
    assert judge(reference, candidate, Tolerance(1e-4, 0.75))


@pytest.mark.parametrize(("flips", "passed"), [(0, True), (1, True), (2, False)])
def test_of_few_samples_one_may_be_decided_otherwise_where_not_all_must_agree(flips, passed):
    reference = np.tile([1.0, 0.999], (32, 1)) + np.arange(32)[:, None]
    candidate = reference.copy()
    candidate[:flips] = candidate[:flips, ::-1]

    assert judge(reference, candidate, TOLERANCES["fp16"]).passed is passed


def test_each_position_of_a_sequence_is_an_answer():
    reference = draw(0, (4, 5, 3))
    candidate = reference.copy()
    candidate[1, 2] = np.roll(candidate[1, 2], 1)
    parity = judge(reference, candidate, Tolerance(10.0, 1.0))
    assert parity.agreement == 0.95
    assert not parity


def test_maps_that_differ_in_many_pixels_fail_though_the_error_is_small():
    reference = np.zeros((4, 2, 8, 8))
    reference[:, 1, :, :4] = 1e-3
    reference[:, 0, :, 4:] = 1e-3
    reference[0] += 100
    candidate = reference.copy()
    candidate[:, 0] += 2e-3
    parity = judge(reference, candidate, STRICT, Segmentation())
    assert parity.relative_l2 < STRICT.relative_l2
    assert not parity
    assert parity.reason == "mIoU with the reference 25.00% is below 100.00%"
    assert parity.top1_agreement is None


@pytest.mark.parametrize(
    ("task", "values"),
    [
        (Segmentation(threshold=1e9), draw(0, (4, 1, 8, 8))),  # no pixel is above the threshold
        (Segmentation(), np.stack([draw(0, (4, 8, 8)) - 1e3, draw(1, (4, 8, 8))], axis=1)),  # one class alone
    ],
)
def test_answers_that_would_agree_whatever_the_model_does_are_no_proof(task, values):
    parity = judge(values, values.copy(), STRICT, task)
    assert not parity
    assert "cannot be judged" in parity.reason
    assert parity.agreement is None


def test_an_output_that_is_wrong_fails_beside_one_that_is_right():
    reference = {"first": draw(0, (6, 4)), "boxes": draw(1, (6, 8, 4))}
    candidate = {"first": reference["first"], "boxes": off_by(reference["boxes"], 0.42)}
    parity = judge(reference, candidate, TOLERANCES["int8"], Raw())
    assert not parity
    assert parity.output == "boxes"
    assert [part.name for part in parity.parts] == ["first", "boxes"]
    assert parity.parts[0].relative_l2 == 0


# --- several outputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.0, 10.0])
def test_truth_is_the_verdict(error):
    reference = draw(0, (5, 3))
    parity = compare(reference, reference + error * draw(1, (5, 3)), LOOSE)
    assert bool(parity) is parity.passed is (error == 0.0)
    assert bool(parity.reason) is not parity.passed


def test_the_worst_of_several_outputs_is_named():
    reference = {name: draw(seed, (6, 4)) for seed, name in enumerate(["boxes", "scores", "masks"])}
    candidate = {name: off_by(values, 1e-7) for name, values in reference.items()}
    assert judge(reference, candidate, STRICT, Raw())
    candidate["scores"] = off_by(reference["scores"], 1e-5)
    parity = judge(reference, candidate, STRICT, Raw())
    assert parity
    assert parity.output == "scores"
    candidate["boxes"] = off_by(reference["boxes"], 0.1)
    parity = judge(reference, candidate, STRICT, Raw())
    assert not parity
    assert parity.output == "boxes"


def test_a_missing_output_fails():
    reference = {"scores": draw(0, (6, 4)), "boxes": draw(1, (6, 4))}
    parity = judge(reference, {"scores": reference["scores"]}, LOOSE, Raw())
    assert not parity
    assert parity.output == "boxes"


def test_worst_prefers_failed_then_unmeasurable_then_the_larger_error():
    reference = draw(0, (6, 4))
    exact = compare(reference, reference, LOOSE, output="exact")
    close = compare(reference, off_by(reference, 0.1), LOOSE, output="close")
    wrong = compare(reference, off_by(reference, 0.9), LOOSE, output="wrong")
    broken = compare(reference, np.full_like(reference, np.nan), LOOSE, output="broken")
    assert worst([exact, close]) is close
    assert worst([wrong, close, exact]) is wrong
    assert worst([exact, wrong, broken, close]) is broken


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 2e-2), ("int8", 0.35)])
def test_each_precision_may_differ_by_its_own_limit_and_no_more(precision, limit):
    """The share of classes that agree is not what decides: no error here reorders them."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(40, 10)) + 30 * np.eye(10)[np.arange(40) % 10]
    error = rng.normal(size=reference.shape)
    error *= np.linalg.norm(reference - reference.mean(axis=0)) / np.linalg.norm(error)
    assert compare(reference, reference + 0.95 * limit * error, TOLERANCES[precision])
    worse = compare(reference, reference + 1.05 * limit * error, TOLERANCES[precision])
    assert not worse
    assert "relative error" in worse.reason


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 0), ("fp16", 1), ("int8", 10)])
def test_each_precision_may_change_so_many_answers_of_100(precision, allowed):
    """The two best scores are as good as equal, so that a change of the answer is hardly an error."""
    best = np.eye(100)
    reference = best + (1 - 1e-9) * np.roll(best, 1, axis=1)
    swapped = (1 - 1e-9) * best + np.roll(best, 1, axis=1)
    for changed, passes in ((allowed, True), (allowed + 1, False)):
        candidate = np.concatenate([swapped[:changed], reference[changed:]])
        assert bool(judge(reference, candidate, TOLERANCES[precision])) is passes
