"""Raw outputs: what can be said of values that nobody reads."""

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.errors import TaskError
from edgeproof.runtime.tasks.base import View
from edgeproof.runtime.tasks.outputs import OutputSpec, specs_of
from edgeproof.runtime.tasks.raw import COMPARED, SHOWN, Raw

TASK = Raw()


def agreement(reference, candidate):
    measure = TASK.agreement
    pairs = zip(TASK.decode(reference), TASK.decode(candidate), strict=True)
    return measure.value([measure.count(*pair) for pair in pairs])


def draw(seed, shape=(6, 9)):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(6, 9), (6, 1), (6,), (6, 2, 3, 4), (4, 2 * COMPARED)])
def test_the_same_values_agree_and_other_ones_do_not(shape):
    values = {"y": draw(0, shape)}
    assert agreement(values, values) == pytest.approx(100)
    assert agreement(values, {"y": -values["y"]}) == 0


def test_the_worst_output_counts():
    reference = {"y": draw(0), "z": draw(1)}
    assert agreement(reference, {"y": reference["y"], "z": draw(2)}) < 60


def test_a_constant_hides_nothing():
    reference, other = {"y": 1e4 + draw(0)}, {"y": 1e4 + draw(1)}
    assert agreement(reference, other) < 60


def test_an_output_that_is_the_same_for_every_sample_cannot_be_judged():
    values = {"y": np.ones((4, 3))}
    assert agreement(values, values) is None


def test_a_scalar_is_refused():
    with pytest.raises(TaskError, match="has no batch axis"):
        TASK.require_fit((OutputSpec("loss", (), "float32"),), ())
    TASK.require_fit(specs_of({"y": np.zeros((4, 1))}), ())


def test_there_is_no_truth():
    assert TASK.metric is None


def test_a_row_holds_shapes_and_the_first_values():
    answer = {"y": np.arange(3, dtype=np.int64), "z": np.zeros((2, SHOWN), np.float32)}
    row = TASK.row(answer, View((), ()))["outputs"]
    assert row["y"] == {"shape": [3], "values": [0, 1, 2]}
    assert (row["z"]["shape"], len(row["z"]["values"])) == ([2, SHOWN], SHOWN)
    assert TASK.draw(Image.new("L", (30, 20)), answer, View((), ())).mode == "RGB"
