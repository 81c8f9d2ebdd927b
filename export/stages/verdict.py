"""The verdict: which precision to ship, and why."""

from __future__ import annotations

from collections.abc import Mapping

from ...runtime.bundle.accuracy import Accuracy
from ...runtime.bundle.manifest import Verdict
from .parity import PrecisionResult


def decide(
    results: Mapping[str, PrecisionResult], accuracy: Mapping[str, Accuracy], max_drop: float
) -> Verdict:
    """INT8 if its parity holds and the metric drops by at most `max_drop` points, else FP16, else FP32."""
    fallback = "fp16" if "fp16" in results else "fp32"
    if "int8" not in results:
        return Verdict(fallback, "INT8 was not asked for")
    parity, measured = results["int8"].parity, accuracy["int8"]
    low, high = measured.ci95
    interval = f"95 % interval {low:.2f} to {high:.2f}, {measured.samples} samples"
    drop = f"{measured.metric} drops by {measured.drop:.2f} points ({interval})"
    if not parity:
        return Verdict(fallback, f"INT8 failed parity: {parity.reason}")
    if measured.drop > max_drop:
        return Verdict(fallback, f"INT8 {drop}, above the budget of {max_drop:g}")
    return Verdict("int8", f"{drop}, within the budget of {max_drop:g}")
