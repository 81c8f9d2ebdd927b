import threading

import numpy as np
import pytest

from edgeproof.runtime.errors import InputError
from edgeproof.runtime.inference.runner import Prediction, Runner
from edgeproof.runtime.providers.request import Batches, EngineOptions, ProviderRequest
from edgeproof.runtime.session.pool import SessionPool, open_sessions
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.testing import memory


def pictures(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_streams_on_a_gpu_are_sessions_of_their_own(machine, bundle, provider):
    opened = open_sessions(bundle, ProviderRequest(provider, "fp32"), streams=3)
    assert isinstance(opened, SessionPool)
    opened.close()
    with pytest.raises(InputError, match="session is closed"):
        opened.run(pictures(1))


def test_a_batch_goes_to_a_session_that_is_idle():
    together, used = threading.Barrier(3), []

    class Meeting:
        """A session in which an inference ends when all three are under way."""

        placement, precision, input_shape, input_dtype, output_names = None, "fp32", (), "float32", ()

        def run(self, batch):
            used.append(id(self))
            together.wait(20)
            return {"batch": batch}

    pool = SessionPool([Meeting() for _ in range(3)])
    threads = [threading.Thread(target=pool.run, args=(pictures(1, seed),)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(used) == len(set(used)) == 3


@pytest.mark.parametrize(("provider", "streams"), [("cuda", 1), ("cpu", 4)])
def test_one_session_is_enough_for_one_stream_and_for_the_cpu(machine, bundle, provider, streams):
    opened = open_sessions(bundle, ProviderRequest(provider, "fp32"), streams)
    assert isinstance(opened, Session)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "auto"])
def test_a_stream_over_several_sessions_keeps_its_order_and_its_answers(machine, bundle, provider):
    golden = bundle.golden()
    expected = next(iter(golden.outputs.values())).argmax(axis=1).tolist() * 10
    request = ProviderRequest(provider, engine=EngineOptions(Batches(1, 2, 2)))
    with Runner.open(bundle, precision="fp32", provider=request, streams=3) as runner:
        results = list(runner.stream(memory(list(golden.input) * 10)))
    assert all(isinstance(result, Prediction) for result in results)
    assert [result.top[0].index for result in results] == expected


def test_a_cuda_graph_is_replayed_by_one_stream(machine, bundle):
    request = ProviderRequest("cuda", "fp32", engine=EngineOptions(cuda_graph=True))
    with pytest.raises(InputError, match="replayed by one stream"):
        open_sessions(bundle, request, streams=2)
    assert machine.created == []
