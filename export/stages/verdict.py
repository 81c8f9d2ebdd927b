"""The verdict: which precision to ship, and why."""

from __future__ import annotations

from collections.abc import Mapping

from ...calibration.targets.base import Int8Result
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.manifest import Verdict
from .parity import PrecisionResult

WORST = 3
NOT_TIMED = "not timed: edgeproof bench on the device tells whether it is faster than {}"


def decide(
    results: Mapping[str, PrecisionResult], accuracy: Mapping[str, Accuracy], max_drop: float
) -> Verdict:
    """INT8 if its parity holds and the metric drops by at most `max_drop` points, else FP16, else FP32.

    The reason for another than INT8 names the layers that lose most in it, where they were ranked. How fast
    the models are is said on the device: at small batches INT8 need not be faster than FP16.
    """
    fallback = "fp16" if "fp16" in results else "fp32"
    if "int8" not in results:
        return Verdict(fallback, "INT8 was not asked for")
    parity, measured = results["int8"].parity, accuracy["int8"]
    worst = _worst(results["int8"].int8)
    low, high = measured.ci95
    interval = f"95 % interval {low:.2f} to {high:.2f}, {measured.samples} samples"
    drop = f"{measured.metric} drops by {measured.drop:.2f} points ({interval})"
    if not parity:
        return Verdict(fallback, f"INT8 failed parity: {parity.reason}{worst}")
    if measured.drop > max_drop:
        return Verdict(fallback, f"INT8 {drop}, above the budget of {max_drop:g}{worst}")
    return Verdict("int8", f"{drop}, within the budget of {max_drop:g}; {NOT_TIMED.format(fallback)}")


def _worst(int8: Int8Result | None) -> str:
    """The layers that lose most in INT8; empty where none were ranked."""
    if int8 is None or not int8.ranked:
        return ""
    worst = ", ".join(f"{layer.layer} ({layer.error:.2f})" for layer in int8.ranked[:WORST])
    return f"; the worst layers, with the relative error of each alone: {worst}"
