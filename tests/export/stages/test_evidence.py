"""evidence.json of real exports."""

import json

import onnx
import pytest

from edgeproof.calibration.onnx_graph.cost import LayerCost
from edgeproof.calibration.onnx_graph.graph import array_of
from edgeproof.calibration.passes.range_search import Choice
from edgeproof.calibration.ranges.statistics import Range
from edgeproof.calibration.recovery.sensitivity import LayerSensitivity
from edgeproof.calibration.targets.base import Attempt, Int8Result
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.stages.evidence import Evidence, RequestSummary, gather
from edgeproof.export.stages.parity import PrecisionResult
from edgeproof.runtime.bundle.accuracy import Accuracy
from edgeproof.runtime.bundle.parity import TOLERANCES, Parity
from edgeproof.runtime.records import decode


def read(bundle):
    return decode(Evidence, json.loads((bundle.folder / bundle.manifest.evidence.file).read_text()))


@pytest.fixture(scope="module")
def recovered(tiny_network, tmp_path_factory, progress):
    """An export whose INT8 model had to be recovered for its budget alone, and could not hold it."""
    out = tmp_path_factory.mktemp("recovered") / "tiny"
    return export_bundle(ExportRequest(model=tiny_network, out=out, max_drop=-100.0, evaluation=20), progress)


def largest_by_value(bundle):
    """The largest magnitude of each activation that the INT8 model rounds, by the activation's name."""
    model = onnx.load_from_string(bundle.model_bytes("int8"))
    scales = {tensor.name: array_of(tensor) for tensor in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0].removesuffix(".float16"): 127 * float(scales[node.input[1]]) for node in nodes}


def test_it_says_what_was_asked_for_and_agrees_with_the_manifest(tiny_bundle):
    evidence, manifest = read(tiny_bundle), tiny_bundle.manifest
    assert evidence.schema == 2
    assert evidence.request == RequestSummary(
        precisions=("fp32", "fp16", "int8"),
        task="classification",
        target=manifest.target,
        max_drop=1.0,
        recover="auto",
        calibration=manifest.data["calibration"]["count"],
        parity=manifest.models["fp32"].parity.samples,
        evaluation=manifest.data["evaluation"]["count"],
    )
    assert set(evidence.curve) <= set(evidence.tried)
    assert evidence.curve


def test_every_rounded_activation_has_its_range_and_the_error_by_method(tiny_bundle):
    ranges = read(tiny_bundle).ranges
    assert len({found.value for found in ranges}) == len(ranges) >= 4
    assert all(found.low < found.high for found in ranges)
    measured = [found for found in ranges if found.errors]
    assert measured
    for found in measured:
        assert set(found.errors) == {"max", "mse", "entropy", "percentile"}
        assert found.errors[found.method] == min(found.errors.values())


def test_ranges_are_those_of_the_model(tiny_bundle):
    found = {each.value: max(-each.low, each.high) for each in read(tiny_bundle).ranges}
    assert found == pytest.approx(largest_by_value(tiny_bundle), rel=1e-3)


def test_the_ranges_alone_and_recovery_are_compared_on_inputs_held_back(tiny_bundle):
    evidence = read(tiny_bundle)
    assert [attempt.recovered for attempt in evidence.tried] == [False, True]
    best = max(evidence.tried, key=lambda attempt: attempt.held_back_db)
    assert [attempt.taken for attempt in evidence.tried] == [attempt is best for attempt in evidence.tried]


def test_recovery_leaves_what_it_tried_and_the_error_by_layer(recovered):
    evidence = read(recovered)
    first, *others = evidence.tried
    assert not first.recovered
    assert others
    assert all(attempt.recovered for attempt in others)
    assert [attempt.float_layers for attempt in others] == sorted(attempt.float_layers for attempt in others)
    assert sum(attempt.taken for attempt in evidence.tried) == 1
    errors = [layer.error for layer in evidence.layers]
    assert errors == sorted(errors, reverse=True)
    assert len(evidence.layers) == 4
    assert any(layer.layer.startswith("Conv") for layer in evidence.layers)


def test_what_is_kept_is_what_the_manifest_says_with_its_reason(recovered):
    evidence, models = read(recovered), recovered.manifest.models
    assert set(evidence.kept) == set(models)
    for name, model in models.items():
        assert {node: kept.precision for node, kept in evidence.kept[name].items()} == dict(model.kept)
        assert all(kept.reason for kept in evidence.kept[name].values())
    (taken,) = [attempt for attempt in evidence.tried if attempt.taken]
    assert taken.float_layers == len(models["int8"].kept)


def test_without_int8_there_is_only_the_request(tmp_path, tiny_network, progress):
    request = ExportRequest(
        model=tiny_network, weights="factory", out=tmp_path / "out", precisions=("fp32",), evaluation=20
    )
    bundle = export_bundle(request, progress)
    evidence = read(bundle)
    assert bundle.manifest.target is None
    assert (evidence.ranges, evidence.layers, evidence.tried) == ((), (), ())
    assert evidence.kept == {"fp32": {}}
    assert evidence.request.precisions == ("fp32",)


@pytest.mark.slow
def test_the_same_export_writes_the_same_bytes(recovered, tiny_network, tmp_path, progress):
    request = ExportRequest(model=tiny_network, out=tmp_path / "tiny", max_drop=-100.0, evaluation=20)
    again, first = export_bundle(request, progress).manifest, recovered.manifest
    assert again.evidence == first.evidence
    assert {name: entry.sha256 for name, entry in again.models.items()} == {
        name: entry.sha256 for name, entry in first.models.items()
    }
    assert (again.golden, again.materials) == (first.golden, first.materials)


def test_an_error_that_is_not_finite_is_null():
    choice = Choice("x", "max", Range(-1, 1), {"max": 0.5, "mse": float("inf")})
    result = Int8Result(
        artifact=None,
        parity=Parity(True, "", 2, TOLERANCES["int8"]),
        accuracy=Accuracy("top-1", 90.0, 0.0, (-1.0, 1.0), 2),
        choices=(choice,),
        recovered=False,
        kept_float={},
        layers=1,
        quantized=1,
        ranked=(LayerSensitivity("y", "Conv y", float("nan"), LayerCost(12, 7)),),
        tried=(Attempt(False, 0, 0.0, 0.0, None, taken=True),),
    )
    asked = RequestSummary(("fp32", "int8"), "classification", "tensorrt", 1.0, "auto", 2, 2, 2)
    value = json.loads(
        gather(asked, {"int8": PrecisionResult(None, result.parity, int8=result)}, {}).to_json()
    )
    assert value["ranges"][0]["errors"] == {"max": 0.5, "mse": None}
    assert value["layers"] == [
        {"node": "y", "layer": "Conv y", "error": None, "multiply_adds": 12, "elements": 7}
    ]
    assert decode(Evidence, value).ranges[0].errors["mse"] is None


def test_it_says_where_pairs_stand_around_gates(tiny_bundle):
    placement = read(tiny_bundle).placement
    assert (placement.name, placement.tried) == ("layers", ())
    assert "no gates" in placement.reason
