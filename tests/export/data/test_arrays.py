"""Arrays in memory as a data set, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from edgeproof.export import array_dataset
from edgeproof.runtime.errors import DataError

TENSORS = np.zeros((6, 3, 8, 8), np.float32)
PICTURES = np.zeros((6, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def dataset(samples=TENSORS, labels=LABELS, calibration=None):
    calibrating = (TENSORS, LABELS) if calibration is None else calibration
    return array_dataset(evaluation=(samples, labels), calibration=calibrating, classes=("a", "b", "c"))


def test_tensors_pass_as_they_are():
    found = dataset(TENSORS + 1)
    assert np.array_equal(found.evaluation.tensor(None), TENSORS + 1)
    assert (found.tensor_shape, found.labels, found.small) == ((3, 8, 8), ("a", "b", "c"), True)
    assert found.evaluation.labels.dtype == np.int64
    assert found.train is None


def test_pictures_are_red_green_and_blue():
    red = PICTURES.copy()
    red[:, :, :, 0] = 255
    found = dataset(red, calibration=(PICTURES[:, :5], LABELS))
    assert isinstance(found.evaluation.load(0), Image.Image)
    assert found.evaluation.load(0).getpixel((0, 0)) == (255, 0, 0)
    assert found.tensor_shape is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": TENSORS.astype(np.float64)}, r"neither tensors nor pictures(.*\n)*.*float64"),
        ({"samples": TENSORS.tolist()}, r"neither tensors nor pictures(.*\n)*.*list"),
        ({"samples": np.zeros((6, 3, 8, 8), np.uint8)}, r"uint8 of shape \(6, 3, 8, 8\)"),
        ({"samples": np.zeros(6, np.float32)}, r"float32 of shape \(6,\)"),
        ({"samples": TENSORS[:0], "labels": LABELS[:0]}, "too few samples for evaluation"),
        ({"samples": TENSORS[:1], "labels": LABELS[:1]}, "at least 2"),
        ({"samples": TENSORS[:, :0]}, "too few samples"),
        ({"samples": TENSORS + np.nan}, "evaluation hold NaN"),
        ({"labels": LABELS[:5]}, r"do not fit the samples(.*\n)*.*shape \(6,\)"),
        ({"labels": LABELS.astype(np.float32)}, "float32"),
        ({"labels": list(LABELS)}, "list"),
        ({"labels": LABELS + 1}, r"out of range(.*\n)*.*0 to 2, for 3 classes(.*\n)*.*1 to 3"),
        ({"labels": LABELS - 1}, "-1 to 1"),
        ({"calibration": (PICTURES, LABELS)}, "not alike"),
        ({"calibration": (TENSORS[:, :, :4], LABELS)}, r"not alike(.*\n)*.*\(6, 3, 4, 8\)"),
        ({"calibration": (TENSORS, LABELS + 9)}, "labels for calibration"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)
