"""The placement of pairs around gates is chosen for each network, on inputs that gave no ranges."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs
from edgeproof.calibration.preflight.check import PreflightResult, is_installed
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.qdq.placement import PlacementChoice, placements
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.calibration.recovery.parameters import baseline
from edgeproof.calibration.targets import placement_trial as module
from edgeproof.calibration.targets import tensorrt as int8_module
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.calibration.targets.placement_trial import choose_placement
from edgeproof.calibration.targets.quantizer import make_int8
from edgeproof.calibration.targets.registry import find_target

QUIET = Progress(quiet=True)
NAMES = ["layers", "gate-float", "gate-int8"]


@pytest.fixture(scope="module")
def samples(photos):
    return CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)


@pytest.fixture
def chosen(network, photos, samples):
    def chosen(artifact=network, given=samples):
        ranges, target = collect_ranges(artifact.model, [photos]), find_target("tensorrt")
        inputs = CalibrationInputs(artifact, given)
        return choose_placement(inputs, lambda plan: target.write(baseline(plan), ranges, {}), QUIET)

    return chosen


@pytest.fixture
def pretend(monkeypatch):
    """A compiler that gives these numbers of INT8 layers, and these sizes, in turn; None to refuse."""

    def pretend(*engines):
        answers = iter(engines)

        def preflight(model, request):
            found = next(answers)
            layers, size = found or (0, 0)
            result = PreflightResult(
                "pretended", ("86",), {}, (), (), 0.0, {"86": size}, {"86": 9}, {"86": layers}
            )
            return result if found else replace(result, refusals=("refused",))

        monkeypatch.setattr(module, "is_installed", lambda: True)
        monkeypatch.setattr(module, "preflight", preflight)

    return pretend


def test_without_a_compiler_all_are_judged_and_the_reason_says_that_there_is_none(chosen):
    placement, found = chosen()
    assert [entry.placement for entry in found.tried] == NAMES
    assert placement.name == found.name == max(found.tried, key=lambda entry: entry.sqnr_db).placement
    assert "no compiler" in found.reason
    assert all(entry.accepted is None and entry.engine_bytes is None for entry in found.tried)


def test_the_same_inputs_give_the_same_choice(chosen):
    assert chosen() == chosen()


def test_with_a_compiler_its_engines_are_compared(chosen, pretend, monkeypatch):
    monkeypatch.setattr("edgeproof.calibration.qdq.placement.CLOSE_DB", 100)
    pretend((5, 100), None, (6, 200))
    placement, found = chosen()
    assert placement.name == found.name == "gate-int8"
    assert [entry.accepted for entry in found.tried] == [True, False, True]
    assert [entry.int8_layers for entry in found.tried] == [5, None, 6]


def test_inputs_that_judge_gave_no_ranges(chosen, network, samples, monkeypatch):
    shown, judged = [], []
    plans, drop = module.least_error_plans, module.OutputSqnr
    monkeypatch.setattr(
        module, "least_error_plans", lambda a, s, *rest: shown.append(s) or plans(a, s, *rest)
    )
    monkeypatch.setattr(module, "OutputSqnr", lambda m, s: judged.append(s) or drop(m, s))
    chosen()
    first, second = (np.concatenate(list(found[0].batches(8))) for found in (shown, judged))
    assert len(first) + len(second) == len(samples)
    assert not {x.tobytes() for x in first} & {x.tobytes() for x in second}


def test_a_network_without_gates_is_not_tried(chosen, vector, monkeypatch):
    monkeypatch.setattr(module, "least_error_plans", pytest.fail)
    artifact = vector("y = MatMul(x, w)", w=np.eye(4, dtype=np.float32))
    placement, found = choose_placement(CalibrationInputs(artifact, None), pytest.fail, QUIET)
    assert (placement.name, found.tried) == ("layers", ())
    assert "no gates" in found.reason


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recover", ["off", "auto"])
def test_ranges_and_recovery_go_with_every_placement(
    network, samples, name, recover, monkeypatch, assert_sound_child
):
    placement = next(option for option in placements(network.model) if option.name == name)
    choice = PlacementChoice(name, "for the test")
    monkeypatch.setattr(int8_module, "choose_placement", lambda *_: (placement, choice))
    target, inputs = find_target("tensorrt"), CalibrationInputs(network, samples)
    statistics = target.calibrate(inputs, QUIET)

    made = make_int8(target, inputs, statistics, Int8Request(100, recover))

    assert_sound_child(made.artifact, network, "int8")
    assert made.recovered == (recover == "auto")
    assert made.placement == choice
    assert made.parity.relative_l2 < 0.2
    assert (made.layers, made.quantized) == (4, 3 if name == "gate-float" else 4)
    assert set(made.kept_float) == ({"node_excite"} if name == "gate-float" else set())
    pairs = {node.name for node in made.artifact.model.graph.node if node.op_type == "QuantizeLinear"}
    assert ("quantize/gate" in pairs) == (name == "gate-int8")
    onnx.checker.check_model(made.artifact.model, full_check=True)


@pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")
def test_nvidias_compiler_is_asked_where_it_is_installed(chosen, monkeypatch):
    monkeypatch.setattr(module, "is_installed", lambda: True)
    _, found = chosen()
    assert all(entry.accepted and entry.engine_bytes > 0 for entry in found.tried)
    assert all(0 < entry.int8_layers <= entry.layers for entry in found.tried)
