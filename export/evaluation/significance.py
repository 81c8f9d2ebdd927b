"""Whether two models that answered the same samples differ by more than chance."""

from __future__ import annotations

from math import comb

from ...runtime.bundle.accuracy import Accuracy


def mcnemar(accuracy: Accuracy) -> float | None:
    """McNemar's exact test (Psychometrika 12, 1947), two-sided, on samples that one model alone has right.

    Args:
        accuracy: of one model against the other.

    Returns:
        The probability, 0..1, of lost and gained samples at least as unequal as these, if each were as likely
        as the other; None where samples are right in part.
    """
    if accuracy.lost is None or accuracy.gained is None:
        return None
    changed = accuracy.lost + accuracy.gained
    fewer = sum(comb(changed, k) for k in range(min(accuracy.lost, accuracy.gained) + 1))
    return min(1.0, 2 * fewer / 2**changed)
