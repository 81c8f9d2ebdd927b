import math

import numpy as np
import onnx
import pytest

from edgeproof.calibration.onnx_graph.localize import Divergence, first_divergence
from edgeproof.runtime.errors import InputError

LIMIT = 1e-4


@pytest.fixture(scope="module")
def reference(network, photos, values_of):
    return values_of(network, photos)


@pytest.fixture(scope="module")
def x(rng):
    return rng(4).standard_normal((6, 4)).astype(np.float32)


def test_equal_models_do_not_diverge(network, photos, reference):
    assert first_divergence(network.model, photos, reference, LIMIT) is None


@pytest.mark.parametrize(
    ("weight", "value"),
    [("conv_w", "conv"), ("depthwise_b", "depthwise"), ("excite_w", "excite"), ("head_w", "logits")],
)
def test_a_changed_weight_is_traced_to_the_node_that_uses_it(
    change_network, network_weights, photos, reference, weight, value
):
    broken = change_network(**{weight: network_weights[weight] * np.float32(1.05)})
    found = first_divergence(broken.model, photos, reference, LIMIT)
    assert found is not None
    assert f"'node_{value}'" in found.node
    assert found.value == value
    assert LIMIT < found.relative_l2 < 1


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("alpha=0.1666667", "alpha=0.2", "gate"),
        ("beta=0.5", "beta=0.4", "gate"),
        ("relu = Relu(conv)", "relu = LeakyRelu<alpha=0.1>(conv)", "relu"),
        ("swish = HardSwish", "swish = Relu", "swish"),
        ("residual = Add(relu, scaled)", "residual = Sub(relu, scaled)", "residual"),
    ],
)
def test_a_changed_attribute_or_operator_is_found(change_network, photos, reference, old, new, value):
    found = first_divergence(change_network(old, new).model, photos, reference, LIMIT)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "attributes",
    ["<pads=[0,0,0,0]>", "<pads=[1,1,1,1], strides=[2,2]>"],
    ids=["pads", "strides"],
)
def test_another_shape_is_an_infinite_error(change_network, photos, reference, attributes):
    broken = change_network("conv = Conv<pads=[1,1,1,1]>", f"conv = Conv{attributes}")
    found = first_divergence(broken.model, photos, reference, LIMIT)
    assert found == Divergence("Conv 'node_conv'", "conv", math.inf)


def test_padding_on_the_wrong_side_keeps_the_shape_and_is_found(change_network, photos, reference):
    broken = change_network("conv = Conv<pads=[1,1,1,1]>", "conv = Conv<pads=[0,0,2,2]>")
    found = first_divergence(broken.model, photos, reference, LIMIT)
    assert found is not None
    assert found.value == "conv"
    assert math.isfinite(found.relative_l2)


def test_two_operators_in_the_wrong_order_are_found_at_the_first_of_them(vector, x, values_of):
    two = np.float32(2)
    right = vector("scaled = Mul(x, two) added = Add(scaled, x) relu = Relu(added) y = Neg(relu)", two=two)
    wrong = vector("scaled = Mul(x, two) relu = Relu(scaled) added = Add(relu, x) y = Neg(added)", two=two)
    found = first_divergence(wrong.model, x, values_of(right, x), LIMIT)
    assert found is not None
    assert found.node == "Relu 'node_relu'"


def test_the_pytorch_module_is_named(change_network, network_weights, photos, reference):
    broken = change_network(excite_w=network_weights["excite_w"] * 2).model
    for node in broken.graph.node:
        scopes = f"['', 'features', 'features.{node.output[0]}', 'convolution']"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    found = first_divergence(broken, photos, reference, LIMIT)
    assert found is not None
    assert found.node == "Conv 'node_excite', PyTorch module 'features.excite'"
    assert str(found).startswith("Conv 'node_excite', PyTorch module 'features.excite' (relative error of")
    assert "'excite'" in str(found)


def test_an_error_below_the_limit_is_not_a_divergence(change_network, network_weights, photos, reference):
    broken = change_network(conv_w=network_weights["conv_w"] * np.float32(1.001)).model
    assert first_divergence(broken, photos, reference, 0.01) is None
    assert first_divergence(broken, photos, reference, 1e-5) is not None


def test_only_values_that_both_forms_name_are_compared(change_network, network_weights, photos, reference):
    broken = change_network(conv_w=network_weights["conv_w"] * 2).model
    known = {name: reference[name] for name in ("pool", "logits")}
    found = first_divergence(broken, photos, {**known, "elsewhere": np.zeros(3)}, LIMIT)
    assert found is not None
    assert found.value == "pool"


def test_nothing_to_compare_is_no_divergence(network, photos):
    assert first_divergence(network.model, photos, {}, LIMIT) is None


def test_a_nan_is_a_divergence(change_network, network_weights, photos, reference):
    weights = network_weights["depthwise_w"].copy()
    weights[0, 0, 1, 1] = np.nan
    found = first_divergence(change_network(depthwise_w=weights).model, photos, reference, LIMIT)
    assert found is not None
    assert found.value == "depthwise"
    assert math.isnan(found.relative_l2)


@pytest.fixture(scope="module")
def dead(vector):
    """A value that should be zero for every input, times `factor`."""
    return lambda factor: vector("zero = Mul(x, factor) y = Add(zero, x)", factor=np.float32(factor))


def test_a_value_that_should_be_zero_and_is_agrees(dead, x, values_of):
    assert first_divergence(dead(0).model, x, values_of(dead(0), x), LIMIT) is None


def test_a_value_that_should_be_zero_and_is_not_diverges(dead, x, values_of):
    found = first_divergence(dead(1e-6).model, x, values_of(dead(0), x), LIMIT)
    assert found == Divergence("Mul 'node_zero'", "zero", math.inf)


def test_a_nan_where_zero_should_be_diverges(dead, x, values_of):
    found = first_divergence(dead(np.nan).model, x, values_of(dead(0), x), LIMIT)
    assert found is not None
    assert found.value == "zero"


def test_inputs_that_do_not_fit_are_refused(network, reference):
    with pytest.raises(InputError, match="does not fit"):
        first_divergence(network.model, np.zeros((1, 3, 16, 17), np.float32), reference, LIMIT)


def test_the_model_is_not_changed(network, photos, reference):
    before = onnx.ModelProto.FromString(network.data)
    first_divergence(network.model, photos, reference, LIMIT)
    assert network.model == before
