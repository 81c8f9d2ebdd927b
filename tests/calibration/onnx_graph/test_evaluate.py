"""A graph with several inputs is computed from the values that it is given."""

import numpy as np
import pytest

from edgeproof.calibration.onnx_graph.evaluate import Evaluator
from edgeproof.runtime.errors import ModelError


@pytest.fixture
def product(build):
    text = "g (float[n,3] a, float[3] b) => (float[n,3] c, float[n,3] a) { c = Mul(a, b) }"
    return build(text).model


def test_all_outputs_come_by_name_and_other_values_are_left_alone(product):
    a, b = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([1, 0, -1])

    found = Evaluator(product).run({"b": b, "other": np.zeros(1), "a": a})

    assert list(found) == Evaluator(product).outputs == ["c", "a"]
    np.testing.assert_array_equal(found["c"], a * b)
    np.testing.assert_array_equal(found["a"], a)  # an input may be an output


def test_a_graph_that_onnx_runtime_does_not_take_is_refused(build):
    with pytest.raises(ModelError, match="does not accept the model"):
        Evaluator(build("g (float[n] a) => (float[n] c) { c = NoSuchOperator(a) }").model)


def test_a_failure_names_what_was_computed(product):
    with pytest.raises(ModelError, match=r"failed while it computed \['c', 'a'\]"):
        Evaluator(product).run({"a": np.zeros((2, 4), np.float32), "b": np.zeros(3, np.float32)})
