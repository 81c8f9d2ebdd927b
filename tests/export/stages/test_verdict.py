"""The verdict: which precision to ship."""

import pytest

from edgeproof.export.stages.parity import PrecisionResult
from edgeproof.export.stages.verdict import decide
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.bundle.parity import TOLERANCES, Parity


def judged(precision: str, drop: float = 0.0, *, passed: bool = True):
    parity = Parity(passed, "" if passed else "relative error 0.9 is above 0.35", 8, TOLERANCES[precision])
    accuracy = Accuracy("mIoU", 90 - drop, drop, ci95=(drop - 1, drop + 1), samples=100)
    return PrecisionResult(None, parity), accuracy


def verdict_on(models: dict, max_drop: float):
    results = {name: result for name, (result, _) in models.items()}
    return decide(results, {name: accuracy for name, (_, accuracy) in models.items()}, max_drop)


def test_int8_within_the_budget_is_shipped():
    verdict = verdict_on({"fp32": judged("fp32"), "fp16": judged("fp16"), "int8": judged("int8", 0.4)}, 0.5)
    assert verdict.ship == "int8"
    assert "mIoU drops by 0.40 points (95 % interval -0.60 to 1.40, 100 samples)" in verdict.why


def test_int8_above_the_budget_gives_way_to_fp16():
    verdict = verdict_on({"fp32": judged("fp32"), "fp16": judged("fp16"), "int8": judged("int8", 0.6)}, 0.5)
    assert verdict.ship == "fp16"
    assert "above the budget of 0.5" in verdict.why


def test_int8_that_failed_parity_gives_way_however_small_its_drop():
    verdict = verdict_on(
        {"fp32": judged("fp32"), "fp16": judged("fp16"), "int8": judged("int8", passed=False)}, 5
    )
    assert verdict.ship == "fp16"
    assert "relative error 0.9" in verdict.why


@pytest.mark.parametrize(
    ("precisions", "ship"), [(("fp32",), "fp32"), (("fp32", "fp16"), "fp16"), (("fp32", "int8"), "int8")]
)
def test_only_what_was_asked_for_can_be_shipped(precisions, ship):
    assert verdict_on({name: judged(name) for name in precisions}, 1).ship == ship


def test_without_fp16_a_poor_int8_gives_way_to_fp32():
    assert verdict_on({"fp32": judged("fp32"), "int8": judged("int8", 9)}, 1).ship == "fp32"
