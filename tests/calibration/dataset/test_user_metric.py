"""A metric of the user's own."""

import numpy as np
import pytest

from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.user_metric import agreement_of
from edgeproof.runtime.errors import TaskError
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.tasks.segmentation import Segmentation


@pytest.fixture
def metric(tmp_path):
    """metric(code): a raw task with the function `score` of a file."""

    def metric(code, name="score"):
        (tmp_path / "mine.py").write_text(code)
        return Raw(f"{tmp_path / 'mine.py'}:{name}")

    return metric


def test_the_drop_is_that_of_the_users_function(metric, build):
    text = "g (float[batch,4] x) => (float[batch,4] y) { y = Mul(x, s) }"
    model, other = (build(text, s=np.array(scale, np.float32)).model for scale in (1, 0.9))
    inputs = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    samples = CalibrationSet(lambda positions: inputs[np.asarray(positions)], 8, "0" * 64)
    task = metric("def score(wanted, got):\n    return float(abs(got['y'] / wanted['y']).mean())\n")
    judged = AccuracyDrop(model, samples, task).measure(other)
    assert judged.accuracy.metric == "score"
    assert judged.accuracy.drop == pytest.approx(10, abs=1e-3)


def test_without_one_a_task_judges_by_its_own():
    assert agreement_of(Raw()).name == "cosine of the signal"
    assert agreement_of(Segmentation()).name == "mIoU with the reference"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def score(wanted, got):\n    return 1 / 0\n", "ZeroDivisionError"),
        ("def score(wanted, got):\n    return 3\n", "is no share"),
        ("def score(wanted, got):\n    return float('nan')\n", "is no share"),
    ],
)
def test_a_function_that_gives_no_share_is_refused(metric, code, message):
    measure = agreement_of(metric(code))
    with pytest.raises(TaskError, match=message):
        measure.count({}, {})


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [("x = 1", "score", "has no function 'score'"), ("1 / 0", "score", "cannot be imported")],
)
def test_what_is_no_function_is_refused(metric, code, name, message):
    with pytest.raises(TaskError, match=message):
        agreement_of(metric(code, name))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TaskError, match="There is no metric"):
        agreement_of(Raw(f"{tmp_path / 'absent.py'}:score"))
