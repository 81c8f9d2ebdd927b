"""Where pairs stand around gates, and which placement is taken."""

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.onnx_graph.graph import makers
from edgeproof.calibration.passes.fp16 import convert_to_fp16
from edgeproof.calibration.preflight.check import is_installed, preflight
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.qdq.placement import (
    CLOSE_DB,
    PlacementChoice,
    Tried,
    activations_of_all,
    choose,
    placements,
)
from edgeproof.calibration.qdq.quantized_inputs import (
    QuantizedInput,
    activations,
    find_quantized_inputs,
    layers,
)
from edgeproof.calibration.ranges.statistics import collect_ranges


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


NAMES = ["layers", "gate-float", "gate-int8"]


def placed(network):
    return {placement.name: placement for placement in placements(network.model)}


def sites(network, name, keep_float=()):
    return find_quantized_inputs(network.model, keep_float, placed(network)[name])


def test_a_network_with_gates_has_three_placements_and_one_without_has_one(network, vector):
    assert list(placed(network)) == NAMES
    assert [placement.name for placement in placements(vector("y = Relu(x)").model)] == ["layers"]


def test_the_layers_within_a_gate_are_quantized_as_others(network):
    assert sites(network, "layers") == find_quantized_inputs(network.model)
    assert "excite" in layers(sites(network, "layers"))


def test_a_gate_may_stay_float_as_a_whole(network):
    found = sites(network, "gate-float")
    assert found == [site for site in find_quantized_inputs(network.model) if site.node != "excite"]


def test_or_both_inputs_of_its_multiplication_are_quantized_and_what_is_pooled(network):
    added = [site for site in sites(network, "gate-int8") if site not in find_quantized_inputs(network.model)]
    assert added == [
        QuantizedInput("squeeze", 0, "swish"),
        QuantizedInput("scaled", 0, "swish"),
        QuantizedInput("scaled", 1, "gate"),
    ]


def test_the_order_of_its_factors_does_not_matter(change_network):
    turned = change_network("Mul(swish, gate)", "Mul(gate, swish)")
    plain = find_quantized_inputs(turned.model)
    added = [site for site in sites(turned, "gate-int8") if site not in plain]
    assert added == [
        QuantizedInput("squeeze", 0, "swish"),
        QuantizedInput("scaled", 1, "swish"),
        QuantizedInput("scaled", 0, "gate"),
    ]


def test_what_is_kept_float_is_so_in_every_placement(network):
    found = sites(network, "gate-int8", keep_float=["scaled", "conv"])
    assert not {"scaled", "conv"} & {site.node for site in found}


def test_the_activations_of_all_placements_can_be_counted(network):
    union = activations_of_all(network.model)
    assert len(union) == len(set(union))
    for name in NAMES:
        assert set(activations(sites(network, name))) <= set(union)


@pytest.fixture(scope="module")
def quantized(network, photos):
    ranges = collect_ranges(network.model, [photos])
    return {
        name: quantize_tensorrt(network, ranges, placement=placement)
        for name, placement in placed(network).items()
    }


def test_the_pool_and_the_multiplication_read_the_same_integers(quantized):
    model = quantized["gate-int8"].model
    nodes, made_by = {node.output[0]: node for node in model.graph.node}, makers(model)
    assert nodes["squeeze"].input[0] == nodes["scaled"].input[0] == "swish.dequantized"
    assert [made_by[name].op_type for name in nodes["scaled"].input] == ["DequantizeLinear"] * 2


def test_a_float_gate_has_no_pair(quantized):
    nodes = {node.output[0]: node for node in quantized["gate-float"].model.graph.node}
    assert list(nodes["excite"].input[:2]) == ["squeeze", "excite_w"]


@pytest.mark.parametrize("name", NAMES)
def test_each_keeps_the_answers(quantized, name, network, photos, run, relative_error):
    onnx.checker.check_model(quantized[name].model, full_check=True)
    assert relative_error(run(network, photos)["logits"], run(quantized[name], photos)["logits"]) < 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(not is_installed(), reason="NVIDIA's compiler is not installed")
def test_nvidias_compiler_takes_each_in_float32_and_in_float16(quantized, name, network, photos):
    ranges = collect_ranges(network.model, [photos])
    for model in (quantized[name].model, convert_to_fp16(quantized[name].model, ranges).model):
        result = preflight(model.SerializeToString())
        assert result, result
        assert 0 < result.int8_layers["86"] <= result.layers["86"]


def tried(name, sqnr, layers=10, size=1000, accepted=True):
    return Tried(name, sqnr, accepted, size, layers + 5, layers)


class TestChoice:
    def test_one_that_is_clearly_better_is_taken_whatever_its_engine(self):
        found = choose([tried("a", 20.0, layers=9), tried("b", 19.4, layers=20, size=1)])
        assert found.name == "a"
        assert "by more than 0.5 dB" in found.reason

    def test_of_those_that_are_close_the_one_with_most_layers_in_int8(self):
        found = choose(
            [tried("a", 20.0, layers=9, size=1), tried("b", 19.6, layers=10), tried("c", 10.0, 99)]
        )
        assert found.name == "b"
        assert "10 layers in INT8" in found.reason

    def test_of_those_with_as_many_the_smallest(self):
        assert choose([tried("a", 20.0, size=1000), tried("b", 19.6, size=900)]).name == "b"

    def test_of_those_that_are_alike_the_first(self):
        assert choose([tried("a", 20.0), tried("b", 20.0)]).name == "a"

    def test_what_the_compiler_refuses_is_not_taken(self):
        assert choose([tried("a", 30.0, accepted=False), tried("b", 10.0)]).name == "b"

    @pytest.mark.parametrize(("accepted", "why"), [(None, "no compiler"), (False, "takes none")])
    def test_without_an_engine_the_highest_sqnr_and_the_reason_says_so(self, accepted, why):
        options = [Tried("a", 20.0, accepted), Tried("b", 20.1, accepted)]
        found = choose(options)
        assert found.name == "b"
        assert found.reason.startswith("highest SQNR on held-back calibration inputs (")
        assert why in found.reason
        assert found.tried == tuple(options)

    def test_a_placement_that_was_not_chosen_has_tried_nothing(self):
        assert PlacementChoice("layers", "it was given").tried == ()

    def test_no_error_at_all_is_best(self):
        assert choose([tried("a", None), tried("b", 99.0, layers=20)]).name == "a"

    @given(
        st.lists(
            st.tuples(st.floats(0, 40), st.integers(0, 30), st.integers(1, 1000)), min_size=1, max_size=6
        )
    )
    def test_the_one_taken_is_close_to_the_best_and_none_that_is_has_more_layers(self, entries):
        options = [tried(str(i), sqnr, count, size) for i, (sqnr, count, size) in enumerate(entries)]
        found = choose(options)
        taken = next(option for option in options if option.placement == found.name)
        highest = max(option.sqnr_db for option in options)
        assert taken.sqnr_db >= highest - CLOSE_DB
        for option in options:
            if option.sqnr_db >= highest - CLOSE_DB:
                assert option.int8_layers <= taken.int8_layers
        assert found.tried == tuple(options)
