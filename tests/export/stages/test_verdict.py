"""The verdict: which precision to ship."""

from dataclasses import replace

import pytest

from edgeproof.calibration.onnx_graph.cost import LayerCost
from edgeproof.calibration.recovery.sensitivity import LayerSensitivity
from edgeproof.calibration.targets.base import Int8Result
from edgeproof.export.stages.parity import PrecisionResult
from edgeproof.export.stages.verdict import decide
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.bundle.parity import TOLERANCES, Parity

RANKED = (("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1))


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


def test_it_names_the_worst_layers_and_what_is_not_known():
    layers = [LayerSensitivity(name, f"Conv {name}", error, LayerCost(1, 1)) for name, error in RANKED]
    results = {"fp32": judged("fp32")[0], "int8": judged("int8", 9.0)[0]}
    int8 = Int8Result(None, results["int8"].parity, judged("int8")[1], (), True, {}, 4, 4, tuple(layers))
    results["int8"] = replace(results["int8"], int8=int8)
    accuracy = {"fp32": judged("fp32")[1], "int8": judged("int8", 9.0)[1]}

    why = decide(results, accuracy, 1.0).why
    assert "Conv a (0.40), Conv b (0.30), Conv c (0.20)" in why
    assert "Conv d" not in why
    assert "edgeproof bench" in decide(results, accuracy, 10.0).why


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
