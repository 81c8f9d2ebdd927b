"""What an interrupted evaluation keeps."""

import numpy as np
import pytest

from edgeproof.export.evaluation.kept_batches import KeptBatches, digest
from edgeproof.runtime.tasks.boxes import Boxes

FOUND = [
    {"truth": np.array([1]), "score": np.array([0.5, 0.25])},
    {"truth": np.array([2]), "score": np.array([])},
]


def test_what_is_kept_comes_back(tmp_path):
    kept = KeptBatches(tmp_path / "evaluation")
    assert kept.get("a", 2) is None
    kept.put("a", FOUND)
    again = kept.get("a", 2)
    assert [{name: list(values) for name, values in each.items()} for each in again] == [
        {name: list(values) for name, values in each.items()} for each in FOUND
    ]
    assert kept.reused == 1
    kept.clear()
    assert not (tmp_path / "evaluation").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04."])
def test_a_damaged_file_counts_as_absent(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    assert KeptBatches(tmp_path).get("a", 2) is None


def test_the_key_tells_values_shapes_and_truths_apart():
    values = np.arange(6, dtype=np.float32)
    truth = Boxes.of([[0, 0, 1, 1]], [3])
    parts = [
        ("model", values),
        ("models", values),
        ("model", values.reshape(2, 3)),
        ("model", values.astype(np.int32)),
        ("model", values, truth),
        ("model", values, Boxes.of([[0, 0, 1, 1]], [4])),
    ]
    assert len({digest(*each) for each in parts}) == len(parts)
    assert digest("model", values, truth) == digest("model", values.copy(), truth)
