"""Parts of outputs, and what a model's answers tell of them."""

import numpy as np
import pytest

from edgeproof.runtime.tasks.outputs import Part, specs_of, whole_outputs


def test_a_part_is_a_slice_of_its_axis():
    outputs = {"y": np.arange(24).reshape(2, 3, 4)}
    assert np.array_equal(Part("y", "scores", 2, 1, 3).of(outputs), outputs["y"][:, :, 1:3])
    assert np.array_equal(Part("y", "rest", 1, 2).of(outputs), outputs["y"][:, 2:])
    assert Part("absent", "absent").of(outputs).size == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0.25, 0.75], [1, 0]], "probabilities"),
        ([[0.5, 0.6], [1, 0]], "logits"),
        ([[-1, 2], [1, 0]], "logits"),
    ],
)
def test_rows_that_sum_to_one_are_probabilities(values, kind):
    (spec,) = specs_of({"y": np.array(values, np.float32)})
    assert (spec.name, spec.shape, spec.dtype, spec.scores) == ("y", ("batch", 2), "float32", kind)


def test_whole_outputs_are_their_own_parts():
    outputs = specs_of({"y": np.zeros((2, 3)), "z": np.zeros((2, 1, 4))})
    assert [(part.output, part.name, part.axis) for part in whole_outputs(outputs)] == [
        ("y", "y", None),
        ("z", "z", None),
    ]
