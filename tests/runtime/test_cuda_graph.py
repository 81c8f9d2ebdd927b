"""CUDA graphs under the rules that the stand-in of `conftest` keeps as the real providers do."""

import threading

import numpy as np
import onnxruntime
import pytest

from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest
from edgeproof.runtime.session.session import Session

PROVIDERS = ("cuda", "tensorrt")

GRAPH = EngineOptions(cuda_graph=True)


def pictures(seed):
    return np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def expected(tiny_model):
    """expected(batch): what the CPU answers."""
    with Session(tiny_model()) as session:
        yield lambda batch: session.run(batch)["scores"]


@pytest.fixture
def recording(machine, tiny_model, request):
    """recording(provider): a session that records a CUDA graph."""
    opened = []

    def make(provider):
        opened.append(Session(tiny_model(), provider=ProviderRequest(provider, engine=GRAPH)))
        return opened[-1]

    yield make
    for session in opened:
        session.close()


def on_threads(work, count):
    """Run work(number) on so many threads at once; returns what was raised."""
    raised = []

    def carry_out(number):
        try:
            work(number)
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=carry_out, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_replayed_graph_answers_each_input_anew(recording, expected, provider):
    session = recording(provider)
    for seed in range(5):
        assert np.allclose(session.run(pictures(seed))["scores"], expected(pictures(seed)), atol=1e-6)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_threads_take_turns_and_get_their_own_answers(recording, expected, provider):
    session, right = recording(provider), []

    def work(number):
        for seed in range(10 * number, 10 * number + 10):
            right.append(
                np.allclose(session.run(pictures(seed))["scores"], expected(pictures(seed)), atol=1e-6)
            )

    assert on_threads(work, 4) == []
    assert right == [True] * 40


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_opens_or_allocates_while_a_graph_is_recorded(machine, recording, tiny_model, provider):
    """Error 900 of CUDA: one thread's allocation breaks another's recording."""
    session = recording(provider)

    def work(number):
        if number % 2:
            session.run(pictures(number))
        else:
            with Session(tiny_model(), provider="cuda") as other:
                for count in (1, 2, 3):
                    other.run(np.zeros((count, 3, 8, 8), np.float32))

    assert on_threads(work, 6) == []


@pytest.mark.parametrize("records", [False, True])
def test_placement_is_profiled_outside_of_any_recording(machine, tiny_model, records):
    """ONNX Runtime 1.23 keeps no record of placement; its profile takes numpy's arrays."""
    if hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        machine.session_class = machine.session_class.__bases__[0]
    with Session(
        tiny_model(), provider=ProviderRequest("cuda", engine=EngineOptions(cuda_graph=records))
    ) as session:
        assert session.placement.label == "cuda"
        assert session.run(pictures(0))["scores"].shape == (1, 4)
