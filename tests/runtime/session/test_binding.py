import time
from threading import Lock, Thread

import numpy as np
import onnxruntime
import pytest

from edgeproof.runtime.session.binding import MAX_BOUND_SHAPES, Binding, BindingPool


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


@pytest.fixture
def counted(bind):
    """`bind`, and the bindings that it made."""
    made = []

    def counting(batch):
        made.append(bind(batch))
        return made[-1]

    return counting, made


def on_threads(work, count):
    threads = [Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_after_the_other_shares_buffers_on_whichever_thread(session, counted):
    bind, made = counted
    pool = BindingPool()
    for seed in range(4):
        batch = pictures(1, seed)
        on_threads(lambda _, batch=batch: pool.run(batch, bind), 1)
        assert np.array_equal(pool.run(batch, bind)[0], session.run(None, {"input": batch})[0])
    assert len(made) == 1


def test_inferences_at_once_never_share_buffers(session, bind):
    pool, collisions, right = BindingPool(), [], []

    class Watched:
        """A binding that notes when it is used twice at once."""

        def __init__(self, batch):
            self.binding, self.busy = bind(batch), Lock()

        def run(self, batch, mark):
            if not self.busy.acquire(blocking=False):
                collisions.append(batch)
            time.sleep(0.005)
            answers = self.binding.run(batch)
            self.busy.release()
            return answers

    def work(number):
        for seed in range(5):
            batch = pictures(1, 10 * number + seed)
            found = pool.run(batch, Watched)[0]
            right.append(np.array_equal(found, session.run(None, {"input": batch})[0]))

    on_threads(work, 4)
    assert right == [True] * 20
    assert collisions == []


def test_buffers_of_few_shapes_are_kept(counted):
    bind, made = counted
    pool = BindingPool()
    for count in [*range(1, MAX_BOUND_SHAPES + 2), MAX_BOUND_SHAPES + 1, 1]:
        pool.run(pictures(count, 0), bind)
    assert len(made) == MAX_BOUND_SHAPES + 2  # the first shape was let go, the latest was not
