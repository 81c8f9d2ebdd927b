"""The verdict: which precision to ship."""

from dataclasses import replace

import onnx
import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.onnx_graph.cost import LayerCost
from edgeproof.calibration.recovery.sensitivity import LayerSensitivity
from edgeproof.calibration.targets.base import Int8Result
from edgeproof.export.stages.parity import PrecisionResult
from edgeproof.export.stages.verdict import decide
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.bundle.parity import TOLERANCES, Parity

SIZES = {"fp32": 400, "fp16": 200, "int8": 100}  # of the models, about, in bytes
RANKED = (("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1))


def judged(
    precision: str,
    drop: float = 0.0,
    *,
    passed: bool = True,
    half: float = 0.05,
    value: float = 90.0,
    size: int = 0,
):
    parity = Parity(passed, "" if passed else "relative error 0.9 is above 0.35", 8, TOLERANCES[precision])
    accuracy = Accuracy("mIoU", value - drop, drop, ci95=(drop - half, drop + half), samples=100)
    model = onnx.ModelProto(doc_string="x" * (size or SIZES[precision]))
    return PrecisionResult(OnnxArtifact(model, precision), parity), accuracy


def verdict_on(models: dict, max_drop: float, chance: float | None = None):
    results = {name: result for name, (result, _) in models.items()}
    return decide(results, {name: accuracy for name, (_, accuracy) in models.items()}, max_drop, chance)


def test_int8_within_the_budget_is_shipped():
    verdict = verdict_on({"fp32": judged("fp32"), "fp16": judged("fp16"), "int8": judged("int8", 0.4)}, 0.5)
    assert verdict.ship == "int8"
    assert "mIoU drops by 0.40 points (95 % interval 0.35 to 0.45, 100 samples)" in verdict.why


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


def test_an_interval_that_holds_the_budget_does_not_decide():
    unsure = {"fp32": judged("fp32"), "fp16": judged("fp16"), "int8": judged("int8", 0.4, half=2)}
    verdict = verdict_on(unsure, 1)
    assert verdict.ship == "fp16"
    assert not verdict.decided
    assert (
        verdict.more_samples == 1012
    )  # the half-width must fall from 2 points to 0.6: 100 * (2 / 0.6)^2 in all
    assert verdict.why.startswith("not decided: 1012 more pictures would")
    assert verdict_on(unsure, 3).decided
    assert verdict_on({**unsure, "int8": judged("int8", 0.4, half=0.6)}, 1).decided


def test_a_drop_that_is_the_budget_itself_is_never_decided():
    verdict = verdict_on({"fp32": judged("fp32"), "int8": judged("int8", 1.0, half=2)}, 1)
    assert not verdict.decided
    assert verdict.more_samples is None
    assert "no number of pictures would" in verdict.why


@pytest.mark.parametrize(("value", "warned"), [(52.0, True), (58.0, True), (61.0, False), (90.0, False)])
def test_a_metric_near_chance_is_warned_about(value, warned):
    """100 answers at 58 % have an interval from 48.3 %, at 61 % from 51.4 %."""
    warnings = verdict_on({"fp32": judged("fp32", value=value)}, 1, chance=50.0).warnings
    assert [warning for warning in warnings if "near chance" in warning] == list(warnings)
    assert bool(warnings) == warned


def test_an_int8_model_that_is_no_smaller_is_said():
    models = {"fp32": judged("fp32"), "fp16": judged("fp16")}
    assert verdict_on({**models, "int8": judged("int8")}, 1).warnings == ()
    (warning,) = verdict_on({**models, "int8": judged("int8", size=SIZES["fp16"])}, 1).warnings
    assert "no smaller than fp16" in warning
