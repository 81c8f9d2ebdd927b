import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeproof.calibration.onnx_graph.graph import (
    activation_limits,
    array_of,
    as_tensor,
    describe,
    element_types,
    expose,
    float_values,
    initializers,
    module_path,
    opset,
    reader_counts,
)
from edgeproof.runtime.errors import ModelError

SCOPES = "pkg.torch.onnx.name_scopes"
MIXED = """
mixed (float[batch,3] x) => (float[batch,3] y) {
    size = Shape(x)
    half = Cast<to=10>(x)
    positive = Greater(x, zero)
    back = Cast<to=1>(half)
    y = Where(positive, back, x)
}"""


@pytest.fixture
def mixed(build):
    return build(MIXED, zero=np.float32(0)).model


@pytest.fixture
def node_from():
    """A node as torch.onnx.export leaves it, with the given scopes recorded."""

    def node_from(scopes):
        node = helper.make_node("Relu", ["x"], ["y"], name="node_relu")
        node.metadata_props.add(key="namespace", value=": model.Net/relu: aten.relu.default")
        node.metadata_props.add(key=SCOPES, value=scopes)
        return node

    return node_from


@pytest.mark.parametrize(
    ("scopes", "module"),
    [
        (
            "['', 'features', 'features.0', 'features.0.1', '_native_batch_norm_legit_no_training']",
            "features.0.1",
        ),
        ("['', 'classifier', 'linear']", "classifier"),
        ("['', 'relu']", ""),
        ("['relu']", ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_module_path_is_the_innermost_module_that_torch_recorded(node_from, scopes, module):
    assert module_path(node_from(scopes)) == module


def test_module_path_is_empty_where_nothing_was_recorded():
    assert module_path(helper.make_node("Relu", ["x"], ["y"])) == ""


def test_describe_names_operator_node_and_module(node_from):
    node = node_from("['', 'features', 'features.3', 'relu']")
    assert describe(node) == "Relu 'node_relu', PyTorch module 'features.3'"


def test_describe_leaves_out_an_unknown_module():
    assert describe(helper.make_node("Relu", ["x"], ["y"], name="node_relu")) == "Relu 'node_relu'"


@pytest.mark.parametrize("version", [13, 17, 20])
def test_opset_is_that_of_the_default_domain(build, version):
    model = build("g (float[batch,3] x) => (float[batch,3] y) { y = Relu(x) }", opset=version).model
    assert opset(model) == version


def test_opset_knows_the_default_domain_by_its_long_name_and_skips_others():
    imports = [helper.make_opsetid("custom", 1), helper.make_opsetid("ai.onnx", 18)]
    assert opset(onnx.ModelProto(opset_import=imports)) == 18


def test_initializers_are_found_by_name_with_their_values(network, network_weights):
    found = initializers(network.model)
    assert found.keys() == network_weights.keys()
    for name, values in network_weights.items():
        np.testing.assert_array_equal(array_of(found[name]), values)


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6, dtype=np.int8).reshape(2, 3),
        np.arange(6, dtype=np.float16).reshape(2, 3).T,
        np.array(2.5, np.float32),
        np.zeros((0, 3), np.int64),
    ],
    ids=["int8", "transposed float16", "scalar", "empty"],
)
def test_as_tensor_keeps_name_dtype_shape_and_values(values):
    tensor = as_tensor("w", values)
    assert tensor.name == "w"
    assert array_of(tensor).dtype == values.dtype
    assert tuple(tensor.dims) == values.shape
    np.testing.assert_array_equal(array_of(tensor), values)


def test_element_types_covers_inputs_weights_and_every_value(mixed):
    assert element_types(mixed) == {
        "x": TensorProto.FLOAT,
        "zero": TensorProto.FLOAT,
        "size": TensorProto.INT64,
        "half": TensorProto.FLOAT16,
        "positive": TensorProto.BOOL,
        "back": TensorProto.FLOAT,
        "y": TensorProto.FLOAT,
    }


def test_element_types_refuses_a_value_whose_type_cannot_be_inferred(build):
    model = build("g (float[batch,3] x) => (float[batch,3] y) { z = custom.Thing(x) y = Relu(z) }").model
    with pytest.raises(ModelError, match=r"'z', an output of Thing 'node_z', cannot be inferred"):
        element_types(model)


def test_element_types_believes_a_recorded_type_of_a_custom_operator(build):
    model = build("g (float[batch,3] x) => (float[batch,3] y) { z = custom.Thing(x) y = Relu(z) }").model
    model.graph.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, None))
    assert element_types(model)["z"] == TensorProto.FLOAT


def test_float_values_are_float32_products_in_the_order_of_the_graph(mixed):
    assert float_values(mixed) == ["back", "y"]


def test_expose_adds_outputs_of_the_right_type_without_changing_the_model(mixed):
    before = mixed.SerializeToString(deterministic=True)
    outputs = {
        info.name: info.type.tensor_type.elem_type
        for info in expose(mixed, ["half", "positive", "size"]).graph.output
    }
    assert outputs == {
        "y": TensorProto.FLOAT,
        "half": TensorProto.FLOAT16,
        "positive": TensorProto.BOOL,
        "size": TensorProto.INT64,
    }
    assert mixed.SerializeToString(deterministic=True) == before


def test_expose_does_not_repeat_an_output(mixed):
    assert [info.name for info in expose(mixed, ["y", "back"]).graph.output] == ["y", "back"]


def test_exposed_values_are_those_that_the_model_computes(mixed, values_of, build, rng):
    x = rng().standard_normal((4, 3)).astype(np.float32)
    values = values_of(build(MIXED, zero=np.float32(0)), x)
    np.testing.assert_array_equal(values["back"], x.astype(np.float16).astype(np.float32))


LIMITS = {
    "y = Relu(x)": (0, np.inf),
    "y = Clip(x, zero, six)": (0, 6),
    "y = Clip(x, zero)": (0, np.inf),
    'y = Clip(x, "", six)': (-np.inf, 6),
    "y = Clip(x)": (-np.inf, np.inf),
    "y = Clip(x, zero, endless)": (0, np.inf),
    "y = Clip(x, zero, largest)": (0, np.inf),
    "h = Neg(six) y = Clip(x, zero, h)": None,
    "h = Neg(six) y = Clip(x, h)": None,
    "y = Sigmoid(x)": None,
}


@pytest.mark.parametrize(("body", "limits"), LIMITS.items())
def test_the_limits_of_an_activation(vector, body, limits):
    constants = {"zero": 0, "six": 6, "endless": np.inf, "largest": np.finfo(np.float32).max}
    model = vector(body, **{name: np.float32(value) for name, value in constants.items()}).model
    assert activation_limits(model.graph.node[-1], initializers(model)) == limits


def test_limits_that_are_attributes_are_not_believed_to_be_absent(build):
    text = "g (float[batch,4] x) => (float[batch,4] y) { y = Clip<min = 0.0, max = 6.0>(x) }"
    model = build(text, opset=9).model
    assert activation_limits(model.graph.node[0], {}) is None


def test_to_be_an_output_counts_as_being_read(build):
    model = build(
        "g (float[batch,4] x) => (float[batch,4] y, float[batch,4] z) { y = Relu(x) z = Add(y, y) }"
    ).model
    assert reader_counts(model) == {"x": 1, "y": 3, "z": 1}
