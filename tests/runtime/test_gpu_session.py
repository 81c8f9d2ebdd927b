"""Sessions on a GPU: a real one where there is one (`make gpu-test`), and always a stand-in for it."""

import os
import threading
from pathlib import Path

import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.parity import TOLERANCES, compare_outputs
from edgeproof.runtime.device.gpu import read_driver
from edgeproof.runtime.device.memory import gpu_bytes_used
from edgeproof.runtime.errors import PlacementError
from edgeproof.runtime.inference.runner import Prediction, Runner
from edgeproof.runtime.inference.verification import verify
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest
from edgeproof.runtime.providers.tensorrt import TENSORRT
from edgeproof.runtime.session.session import Session, load_onnxruntime, run_batched
from edgeproof.runtime.tasks.outputs import specs_of
from edgeproof.runtime.tasks.raw import Raw
from edgeproof.runtime.testing import memory

NO_GPU = read_driver().problem
GPU = pytest.param(
    "gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(bool(NO_GPU), reason=f"no GPU: {NO_GPU}")]
)
FLOATS = ("fp32", "fp16")
STALE = 64 << 20  # bytes that the driver may keep for itself, and neighbours on the GPU come by


@pytest.fixture(scope="session")
def exported(edgeproof, tiny_network, tmp_path_factory) -> Path:
    """The bundle that $EDGEPROOF_GPU_BUNDLE names, else a small one with every precision."""
    chosen = os.environ.get("EDGEPROOF_GPU_BUNDLE")
    if chosen:
        return Path(chosen)
    folder = tmp_path_factory.mktemp("gpu") / "bundle"
    wishes = ("--weights", "random", "--data", "digits", "--input", "3x32x32", "--recover", "off")
    done = edgeproof("export", tiny_network, *wishes, "--evaluation", 32, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=["stand-in", GPU])
def on_gpu(request) -> Bundle:
    """A bundle, on a machine with a GPU."""
    if request.param == "gpu":
        return Bundle.open(request.getfixturevalue("exported"))
    request.getfixturevalue("machine")
    return request.getfixturevalue("bundle")


@pytest.fixture(params=[GPU])
def on_real_gpu(request) -> Bundle:
    """The same, on a real one only."""
    return Bundle.open(request.getfixturevalue("exported"))


def cuda(precision, **wishes):
    return ProviderRequest("cuda", precision, exact=precision == "fp32", **wishes)


def answers(bundle, request):
    """What the model answers to the golden inputs, one at a time."""
    with Session(bundle.model_bytes(request.precision), provider=request) as session:
        return run_batched(session, bundle.golden().input, batch=1)


def skip_unproven(bundle, precision):
    """What missed PyTorch's answers at export cannot meet them here: INT8 of random weights may."""
    if not bundle.manifest.models[precision].parity:
        pytest.skip(f"{precision} failed its parity at export")


@pytest.mark.parametrize("precision", FLOATS)
def test_every_float_node_runs_on_cuda(on_gpu, precision):
    with Session(on_gpu.model_bytes(precision), provider=cuda(precision)) as session:
        assert set(session.placement.nodes) == {"cuda"}
        assert session.placement.nodes["cuda"]
        assert not session.placement.fallback


def test_int8_says_where_each_of_its_nodes_runs(on_real_gpu):
    request = cuda("int8", allow_fallback=True)
    with Session(on_real_gpu.model_bytes("int8"), provider=request) as session:
        placement = session.placement
    assert placement.provider == "cuda", str(placement)
    assert set(placement.nodes) <= {"cuda", "cpu"}
    assert placement.fallback == bool(placement.elsewhere)


@pytest.mark.parametrize("precision", FLOATS)
def test_float_answers_are_pytorchs(on_gpu, precision):
    replay = verify(on_gpu, precision, cuda(precision))
    assert replay, replay.reason
    assert replay.provider == "cuda"


def test_int8_answers_are_pytorchs(on_real_gpu):
    skip_unproven(on_real_gpu, "int8")
    replay = verify(on_real_gpu, "int8", cuda("int8", allow_fallback=True))
    assert replay, replay.reason


@pytest.mark.parametrize("precision", FLOATS)
def test_a_cuda_graph_gives_the_same_answers(on_gpu, precision):
    """To inputs that differ: a graph that is bound wrongly repeats its first answer."""
    plain, graph = (
        answers(on_gpu, cuda(precision, engine=EngineOptions(cuda_graph=wish))) for wish in (False, True)
    )
    parity = compare_outputs(plain, graph, TOLERANCES[precision], Raw(), specs_of(plain))
    assert parity, parity.reason


def test_batches_of_several_sizes_in_turns_get_their_own_answers(on_gpu):
    inputs = on_gpu.golden().input
    with Session(on_gpu.model_bytes("fp32"), provider=cuda("fp32")) as session:
        alone = run_batched(session, inputs, batch=1)
        for size in (2, 3, 1, 2):
            parity = compare_outputs(
                alone,
                run_batched(session, inputs, batch=size),
                TOLERANCES["fp32"],
                Raw(),
                specs_of(alone),
            )
            assert parity, parity.reason


def test_two_runners_on_one_device_do_not_disturb_each_other(on_gpu):
    golden = on_gpu.golden()
    expected = next(iter(golden.outputs.values())).argmax(axis=1).tolist() * 5
    found: dict[int, list[int]] = {}

    def label(number):
        tensors = [sample for _ in range(5) for sample in golden.input]
        with Runner.open(on_gpu.folder, provider="cuda", precision="fp32") as runner:
            results = list(runner.stream(memory(tensors)))
        found[number] = [result.top[0].index for result in results if isinstance(result, Prediction)]

    threads = [threading.Thread(target=label, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: expected, 1: expected}


def test_a_closed_session_gives_its_memory_back(on_real_gpu):
    model, inputs = on_real_gpu.model_bytes("fp32"), on_real_gpu.golden().input[:1]

    def used_after_closing():
        with Session(model, provider=cuda("fp32")) as session:
            session.run(inputs)
        return gpu_bytes_used()

    first = used_after_closing()  # the context and the kernels stay for as long as the process lives
    assert first is not None
    assert max(used_after_closing() for _ in range(5)) - first < STALE


@pytest.mark.parametrize("precision", [*FLOATS, "int8"])
def test_tensorrt_gives_pytorchs_answers_where_it_is(on_real_gpu, precision):
    try:
        TENSORRT.require_usable(load_onnxruntime())
    except PlacementError as error:
        pytest.skip(f"no TensorRT: {error.details['got']}")
    skip_unproven(on_real_gpu, precision)
    replay = verify(on_real_gpu, precision, ProviderRequest("tensorrt", precision))
    assert replay, replay.reason
    assert replay.provider == "tensorrt"
