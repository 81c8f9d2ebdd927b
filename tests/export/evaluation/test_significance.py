"""McNemar's exact test, against scipy's binomial test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from edgeproof.export.evaluation.significance import mcnemar
from edgeproof.runtime.bundle.accuracy import Accuracy


def accuracy(lost, gained):
    return Accuracy("top-1", 90.0, 0.0, (-1.0, 1.0), 1000, lost=lost, gained=gained)


@given(st.integers(0, 400), st.integers(0, 400))
def test_it_is_the_two_sided_binomial_test(lost, gained):
    wanted = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(accuracy(lost, gained)) == pytest.approx(wanted, rel=1e-9)


def test_many_changed_answers_are_no_overflow():
    assert mcnemar(accuracy(3000, 3000)) == 1.0
    assert mcnemar(accuracy(3000, 2000)) < 1e-40


def test_answers_that_are_right_in_part_have_no_such_test():
    assert mcnemar(accuracy(None, None)) is None
