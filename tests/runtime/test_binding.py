import numpy as np
import onnxruntime
import pytest

from edgeproof.runtime.binding import Binding


@pytest.fixture
def session(tiny_model):
    return onnxruntime.InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])


@pytest.fixture
def bind(session):
    """bind(batch): buffers for batches like this one, in the CPU's memory."""
    names = {"input_name": "input", "output_names": ("scores",)}
    return lambda batch: Binding(onnxruntime, session, batch, device="cpu", **names)


def pictures(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3])
def test_every_run_answers_its_own_batch(session, bind, count):
    binding = bind(pictures(count, 0))
    for seed in range(5):
        batch = pictures(count, seed)
        (scores,) = binding.run(batch)
        assert np.array_equal(scores, session.run(None, {"input": batch})[0])


def test_answers_are_the_callers_own(bind):
    binding = bind(pictures(1, 0))
    first = binding.run(pictures(1, 1))[0]
    kept = first.copy()
    binding.run(pictures(1, 2))
    assert np.array_equal(first, kept)


def test_the_batch_is_copied_not_kept(bind):
    batch = pictures(1, 0)
    kept = batch.copy()
    bind(batch).run(pictures(1, 1))
    assert np.array_equal(batch, kept)


def test_buffers_stay_where_they_are(session, bind, monkeypatch):
    binding = bind(pictures(1, 0))
    addresses = {value.data_ptr() for value in binding._outputs}
    for seed in range(3):
        binding.run(pictures(1, seed))
    assert {value.data_ptr() for value in binding._binding.get_outputs()} == addresses
