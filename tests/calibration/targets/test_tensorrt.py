"""INT8 within a budget: ranges alone where they do, recovery where they do not, float layers at the last."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs
from edgeproof.calibration.onnx_graph.cost import LayerCost
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.recovery.sensitivity import LayerSensitivity
from edgeproof.calibration.targets.base import Attempt, Int8Request, Int8Result, as_recover
from edgeproof.calibration.targets.quantizer import hold_budget, make_int8
from edgeproof.calibration.targets.registry import find_target
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.bundle.parity import TOLERANCES, Parity
from edgeproof.runtime.errors import InputError, ModelError


def quantize(artifact, samples, request, labels=None, target="tensorrt"):
    chosen, inputs = find_target(target), CalibrationInputs(artifact, samples, truths=labels)
    statistics = chosen.calibrate(inputs, Progress(quiet=True))
    return make_int8(chosen, inputs, statistics, request)


@pytest.fixture(scope="module")
def samples(photos):
    return CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)


@pytest.fixture(scope="module")
def hard(vector):
    """Two layers; the first adds up a huge value that says nothing and small ones that decide."""
    first = np.eye(4, dtype=np.float32)
    first[0] = 0
    return vector("h = Gemm(x, v) y = Gemm(h, w)", v=first, w=np.eye(4, dtype=np.float32))


@pytest.fixture(scope="module")
def hard_samples(rng):
    inputs = rng(3).standard_normal((32, 4)).astype(np.float32)
    inputs[:, 0] *= 1000
    return CalibrationSet(lambda positions: inputs[np.asarray(positions)], len(inputs), "0" * 64)


def test_ranges_alone_are_enough_for_an_easy_network(network, samples, run, photos):
    result = quantize(network, samples, Int8Request(max_drop=10, recover="off"))

    assert not result.recovered
    assert result.kept_float == {}
    assert result.layers == 4
    assert result.parity
    assert result.artifact.parent == network.sha256
    onnx.checker.check_model(result.artifact.model, full_check=True)
    answers = run(result.artifact, photos)["logits"].argmax(axis=1)
    assert 100 * (answers != run(network, photos)["logits"].argmax(axis=1)).mean() == result.drop


def test_every_activation_says_how_its_range_was_chosen(network, samples):
    choices = quantize(network, samples, Int8Request(recover="off")).choices

    assert {choice.value for choice in choices} == {"image", "relu", "squeeze", "flat"}
    assert all({"max", "mse", "entropy", "percentile"} == set(choice.errors) for choice in choices)


def test_recovery_brings_the_answers_nearer(network, samples):
    plain = quantize(network, samples, Int8Request(recover="off"))
    mended = quantize(network, samples, Int8Request(recover="auto", max_drop=100))

    assert mended.recovered
    assert mended.parity.relative_l2 < plain.parity.relative_l2


def test_layers_that_break_the_budget_stay_float_by_name(hard, hard_samples):
    plain = quantize(hard, hard_samples, Int8Request(recover="off"))
    mixed = quantize(hard, hard_samples, Int8Request(max_drop=5))

    assert plain.drop > 20
    assert mixed.drop <= 5
    assert set(mixed.kept_float) == {"node_h"}
    assert mixed.kept_float["node_h"].precision == "float16"
    assert "alone in INT8" in mixed.kept_float["node_h"].reason
    assert (mixed.layers, mixed.quantized) == (2, 1)
    onnx.checker.check_model(mixed.artifact.model, full_check=True)
    makers = {node.output[0]: node for node in mixed.artifact.model.graph.node}
    assert list(makers["h"].input) == ["x.float16", "v.float16"]
    assert list(makers["y"].input) != ["h", "w"]


def test_on_the_cpu_too_the_layer_with_the_largest_error_stays_float_where_the_budget_asks_for_it(
    hard, hard_samples
):
    off = quantize(hard, hard_samples, Int8Request(recover="off"), target="cpu")
    mixed = quantize(hard, hard_samples, Int8Request(max_drop=5), target="cpu")

    assert off.kept_float == {}
    assert off.drop > 20
    assert mixed.drop <= 5
    assert {name: kept.precision for name, kept in mixed.kept_float.items()} == {"node_h": "float32"}
    makers = {node.output[0]: node for node in mixed.artifact.model.graph.node}
    assert list(makers["h"].input) == ["x", "v"]


def test_all_that_was_tried_is_told_with_the_error_by_layer(hard, hard_samples):
    plain = quantize(hard, hard_samples, Int8Request(recover="off"))
    mixed = quantize(hard, hard_samples, Int8Request(max_drop=5))

    assert [(one.recovered, one.taken) for one in plain.tried] == [(False, True)]
    assert plain.tried[0].drop == plain.drop
    assert plain.ranked == ()
    assert replace(mixed.tried[0], held_back_db=None) == replace(plain.tried[0], taken=False)
    assert [one.taken for one in mixed.tried] == [False] * (len(mixed.tried) - 1) + [True]
    assert (mixed.tried[-1].drop, mixed.tried[-1].float_layers) == (mixed.drop, 1)
    assert mixed.tried[-1].sqnr_db == mixed.parity.sqnr_db
    assert [layer.node for layer in mixed.ranked] == ["h", "y"]
    assert mixed.ranked[0].error > mixed.ranked[1].error


def found(drop, held_back_db, ranked=(), recovered=True):
    parity = Parity(True, "", 2, TOLERANCES["int8"], sqnr_db=9.0)
    accuracy = Accuracy("top-1", 100 - drop, drop, (drop, drop), 2)
    return Int8Result(None, parity, accuracy, (), recovered, {}, 4, 4, ranked, held_back_db=held_back_db)


@pytest.mark.parametrize(
    ("models", "taken", "made"),
    [
        pytest.param([(9, 10)], 0, 1, id="nothing else is there"),
        pytest.param([(1, 20), (0, 24), (0, 25)], 1, 2, id="recovery is tried within the budget too"),
        pytest.param([(1, 20), (0, 19)], 0, 2, id="it does not help on the inputs held back"),
        pytest.param([(1, 20), (0, None)], 1, 2, id="no error is left"),
        pytest.param([(9, 10), (5, 12), (2, 14), (1, 16)], 2, 3, id="the first that holds the budget"),
        pytest.param([(9, 10), (5, 14), (6, 13), (7, 12)], 1, 4, id="none holds it"),
        pytest.param([(9, 10), (1, 8), (1, 11)], 2, 3, id="the first that holds it was fitted too well"),
    ],
)
def test_what_is_best_on_inputs_held_back_is_taken_until_the_budget_holds(models, taken, made):
    ranking = (LayerSensitivity("h", "Gemm h", 0.5, LayerCost(2, 2)),)
    asked_for = []

    def others():
        for model in models[1:]:
            asked_for.append(model)
            yield found(*model, ranking if len(asked_for) > 1 else ())

    result = hold_budget(Int8Request(2), found(*models[0], recovered=False), others())

    assert (result.drop, result.held_back_db) == models[taken]
    assert [one.taken for one in result.tried] == [number == taken for number in range(made)]
    assert [(one.drop, one.held_back_db) for one in result.tried] == models[:made]
    assert result.ranked == (ranking if made > 2 else ())


def test_a_layer_is_kept_in_the_precision_of_the_target(hard, hard_samples):
    result = quantize(hard, hard_samples, Int8Request(max_drop=5), target="tensorrt-fp32")

    assert {name: kept.precision for name, kept in result.kept_float.items()} == {"node_h": "float32"}
    assert "node_h" in {node.name for node in result.artifact.model.graph.node}


def test_with_labels_only_right_answers_that_are_lost_count(network, samples, run, photos):
    labels = run(network, photos)["logits"].argmin(axis=1)  # the float model is never right

    result = quantize(network, samples, Int8Request(max_drop=0), labels)

    assert result.drop <= 0
    assert len(result.tried) == 2  # the budget holds at once: no more layers stay float


def test_a_network_without_layers_to_quantize_is_refused(vector, hard_samples):
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul"):
        quantize(vector("y = Relu(x)"), hard_samples, Int8Request())


def test_a_fixed_batch_is_kept(build, hard_samples):
    text = "g (float[3,4] x) => (float[3,4] y) { y = Gemm(x, w) }"

    result = quantize(build(text, w=np.eye(4, dtype=np.float32)), hard_samples, Int8Request(recover="off"))

    assert result.parity.samples == len(hard_samples)
    assert result.artifact.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


def test_an_unknown_way_to_recover_is_refused():
    with pytest.raises(InputError, match="auto, off"):
        as_recover("maybe")


def test_the_curve_holds_what_none_other_beats_in_both_ways():
    def attempt(cost, signal, **more):
        return Attempt(True, 0, cost, 0.0, 9.0, held_back_db=signal, **more)

    alone, cheap, worse, dear, exact = (
        attempt(*point) for point in [(0.0, 18.0), (0.1, 22.0), (0.2, 21.0), (0.3, 25.0), (0.5, None)]
    )
    result = replace(found(0, 18.0), tried=(alone, worse, dear, cheap, exact))

    assert result.curve == (alone, cheap, dear, exact)
