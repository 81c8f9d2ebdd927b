"""The verdict: which precision to ship, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ...calibration.targets.base import Int8Result
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.manifest import Precision, Verdict
from .parity import PrecisionResult

WORST = 3
NOT_TIMED = "not timed: edgeproof bench on the device tells whether it is faster than {}"


def decide(
    results: Mapping[str, PrecisionResult],
    accuracy: Mapping[str, Accuracy],
    max_drop: float,
    chance: float | None = None,
) -> Verdict:
    """INT8 if its parity holds and the metric surely drops by no more than `max_drop`, else FP16, else FP32.

    Where the 95 % interval of the drop holds the budget, the verdict is not decided: it says how many samples
    more would decide, and FP16 is shipped meanwhile. The reason for another than INT8 names the layers that
    lose most in it, where they were ranked. How fast the models are is said on the device: at small batches
    INT8 need not be faster than FP16.

    Args:
        results: each precision with its proofs.
        accuracy: of each precision.
        max_drop: the budget, in percentage points.
        chance: the metric of a model that always gives the commonest truth, in percent; None for no such.
    """
    fallback: Precision = "fp16" if "fp16" in results else "fp32"
    if "int8" not in results:
        verdict = Verdict(fallback, "INT8 was not asked for")
    elif not results["int8"].parity:
        reason = f"INT8 failed parity: {results['int8'].parity.reason}"
        verdict = Verdict(fallback, reason + _worst(results["int8"].int8))
    else:
        verdict = _by_budget(results["int8"], accuracy["int8"], max_drop, fallback)
    return replace(verdict, warnings=tuple(_warnings(results, accuracy["fp32"], fallback, chance)))


def _by_budget(int8: PrecisionResult, accuracy: Accuracy, max_drop: float, fallback: Precision) -> Verdict:
    low, high = accuracy.ci95
    interval = f"95 % interval {low:.2f} to {high:.2f}, {accuracy.samples} samples"
    drop = f"{accuracy.metric} drops by {accuracy.drop:.2f} points ({interval})"
    within = accuracy.within(max_drop)
    if within:
        return Verdict("int8", f"{drop}, within the budget of {max_drop:g}; {NOT_TIMED.format(fallback)}")
    if within is False:
        return Verdict(fallback, f"INT8 {drop}, above the budget of {max_drop:g}{_worst(int8.int8)}")
    more = accuracy.samples_to_decide(max_drop)
    would = "no number of pictures would" if more is None else f"{more} more pictures would"
    return Verdict(
        fallback,
        f"not decided: {would} tell whether INT8 holds the budget of {max_drop:g}; its {drop}; "
        f"{fallback} is shipped meanwhile (more pictures: --data, --evaluation)",
        decided=False,
        more_samples=more,
    )


def _warnings(
    results: Mapping[str, PrecisionResult], reference: Accuracy, fallback: Precision, chance: float | None
) -> Iterator[str]:
    if chance is not None and _lowest(reference) <= chance:
        yield (
            f"{reference.metric} of {reference.value:.2f} % on {reference.samples} samples is near chance: "
            f"always the commonest class would have {chance:.2f} %; the weights are not trained on this "
            "data, or --preprocess is not that of the training"
        )
    if "int8" in results:
        own, other = (len(results[name].artifact.data) for name in ("int8", fallback))
        if own >= other:
            yield f"the INT8 model is no smaller than {fallback}: {own:,} bytes against {other:,}"


def _lowest(accuracy: Accuracy) -> float:
    """The lower end of the value's own 95 % interval, by the normal distribution, in percent."""
    share = accuracy.value / 100
    return 100 * (share - 1.959964 * math.sqrt(share * (1 - share) / accuracy.samples))


def _worst(int8: Int8Result | None) -> str:
    """The layers that lose most in INT8; empty where none were ranked."""
    if int8 is None or not int8.ranked:
        return ""
    worst = ", ".join(f"{layer.layer} ({layer.error:.2f})" for layer in int8.ranked[:WORST])
    return f"; the worst layers, with the relative error of each alone: {worst}"
