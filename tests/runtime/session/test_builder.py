"""Sessions on a machine with a GPU, as the fixture `machine` plays it, and on this one."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeproof.runtime.device.gpu import Driver
from edgeproof.runtime.device.jetson import PowerMode
from edgeproof.runtime.errors import InputError, ModelError, PlacementError
from edgeproof.runtime.providers import cuda, tf32
from edgeproof.runtime.providers.cpu import EXACT_SUMS
from edgeproof.runtime.providers.request import Batches, EngineOptions, ProviderRequest
from edgeproof.runtime.session import builder as opening
from edgeproof.runtime.session.session import Session

RECORDS = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


def pictures(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def expected(tiny_model):
    """expected(batch): what the CPU answers."""
    with Session(tiny_model()) as session:
        yield lambda batch: session.run(batch)["scores"]


@pytest.fixture(params=["record", "profile"])
def any_evidence(request, machine):
    """The machine, with an ONNX Runtime that keeps a record of assignments and with one that does not."""
    if request.param == "record" and not RECORDS:
        pytest.skip("this onnxruntime keeps no record")
    if request.param == "profile" and RECORDS:
        machine.session_class = machine.session_class.__bases__[0]
    return machine


# --- placement --------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_the_provider_of_every_node_is_known(any_evidence, tiny_model, expected, provider):
    request = ProviderRequest(provider, engine=EngineOptions(Batches(1, 1, 2)))
    with Session(tiny_model(), provider=request) as session:
        assert session.placement.provider == session.placement.label == provider
        assert len(session.placement.nodes[provider]) == 3
        assert not session.placement.fallback
        assert np.array_equal(session.run(pictures(2))["scores"], expected(pictures(2)))


@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_nodes_elsewhere_are_listed_and_refused(any_evidence, tiny_model, provider):
    any_evidence.refused = {TENSORRT: {"Gemm"}, CUDA: {"Gemm"}}
    with pytest.raises(PlacementError, match=f"1 of 3 nodes do not run on {provider}") as caught:
        Session(tiny_model(), provider=provider)
    assert caught.value.exit_status == 1
    assert "(cpu)" in str(caught.value)
    assert "--allow-fallback" in str(caught.value)


def test_with_fallback_allowed_the_placement_says_who_runs_what(any_evidence, tiny_model, expected):
    any_evidence.refused = {TENSORRT: {"Gemm"}}
    request = ProviderRequest("tensorrt", allow_fallback=True)
    with Session(tiny_model(), provider=request) as session:
        assert session.placement.label == "tensorrt+cuda"
        assert session.placement.fallback
        assert len(session.placement.elsewhere) == 1
        assert "2 of 3 nodes; elsewhere:" in str(session.placement)
        assert np.array_equal(session.run(pictures(1))["scores"], expected(pictures(1)))


@pytest.mark.parametrize(("refusing", "taken"), [((TENSORRT,), "cuda"), ((TENSORRT, CUDA), "cpu")])
def test_a_provider_that_takes_no_node_is_not_called_the_one_that_runs_the_model(
    any_evidence, tiny_model, expected, refusing, taken
):
    any_evidence.refused = {name: {"GlobalAveragePool", "Flatten", "Gemm"} for name in refusing}
    request = ProviderRequest("tensorrt", allow_fallback=True)
    with Session(tiny_model(), provider=request) as session:
        assert session.placement.provider == session.placement.label == taken
        assert session.placement.fallback
        assert "3 of 3 nodes do not run on tensorrt" in str(session.placement)
        assert np.array_equal(session.run(pictures(1))["scores"], expected(pictures(1)))


@pytest.mark.parametrize("provider", ["tensorrt", "auto"])
def test_a_model_whose_batch_may_vary_is_never_split_by_tensorrt(machine, tiny_model, provider):
    machine.refused = {TENSORRT: {"Flatten"}}
    request = ProviderRequest(provider, allow_fallback=True)
    with Session(tiny_model(), provider=request) as session:
        assert session.placement.label == "cuda"
        assert "a model whose batch may vary cannot be split" in str(session.placement)
    with pytest.raises(PlacementError, match="cannot be split") as caught:
        Session(tiny_model(), provider="tensorrt")
    assert "--provider cuda" in str(caught.value)


@pytest.mark.skipif(not RECORDS, reason="this onnxruntime keeps no record")
def test_copies_between_memories_are_no_nodes(machine, tiny_model, monkeypatch):
    node = type("Node", (), {"op_type": "MemcpyToHost", "name": "Memcpy"})()
    part = type("Part", (), {"ep_name": CPU, "get_nodes": lambda self: [node]})()
    original = machine.session_class.get_provider_graph_assignment_info
    monkeypatch.setattr(
        machine.session_class, "get_provider_graph_assignment_info", lambda self: [*original(self), part]
    )
    with Session(tiny_model(), provider="cuda") as session:
        assert session.placement.label == "cuda"


def test_onnxruntime_never_chooses_another_provider_by_itself(machine, tiny_model):
    machine.failing = {CUDA}
    with pytest.raises(PlacementError, match="cuda cannot run this model here") as caught:
        Session(tiny_model(), provider="cuda")
    assert "CUDAExecutionProvider does not start" in str(caught.value)
    assert "edgeproof doctor" in str(caught.value)


# --- what is missing --------------------------------------------------------------------------------


def lack_build(machine):
    machine.available = [CPU]


def lack_libraries(machine):
    machine.broken = {"cuda": ["libcuda.so.1", "libcudnn.so.9"], "tensorrt": ["libnvinfer.so.10"]}


def lack_gpu(machine):
    machine.driver = Driver("540.4.0", "12.6", (), "the driver finds no GPU")


LACKS = {
    lack_build: "built without cuda",
    lack_libraries: "libcuda.so.1, libcudnn.so.9",
    lack_gpu: "the driver finds no GPU",
}


@pytest.mark.parametrize(("lack", "message"), LACKS.items())
def test_a_provider_that_cannot_be_used_is_refused_with_what_is_missing(machine, tiny_model, lack, message):
    lack(machine)
    with pytest.raises(PlacementError) as caught:
        Session(tiny_model(), provider="cuda")
    assert message in str(caught.value)
    assert "edgeproof doctor" in str(caught.value)
    assert machine.created == []


@pytest.mark.parametrize("lack", LACKS)
@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_only_an_allowed_fallback_goes_on_without_it(machine, tiny_model, expected, lack, provider):
    lack(machine)
    with Session(tiny_model(), provider=ProviderRequest(provider, allow_fallback=True)) as session:
        assert session.placement.label == "cpu"
        assert session.placement.fallback
        assert len(session.placement.refused) == (2 if provider == "tensorrt" else 1)
        assert np.array_equal(session.run(pictures(3))["scores"], expected(pictures(3)))


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(machine, tiny_model):
    with pytest.raises(InputError, match="no GPU 2") as caught:
        Session(tiny_model(), provider=ProviderRequest("cuda", device=2))
    assert "0 (Orin)" in str(caught.value)


@pytest.mark.parametrize("provider", ["tensorrt", "cuda", "auto"])
def test_a_model_at_fault_is_not_blamed_on_the_provider(machine, provider):
    with pytest.raises(ModelError, match="does not accept the model"):
        Session(b"rubbish", provider=provider)


@pytest.mark.skipif(os.path.exists("/proc/driver/nvidia/version"), reason="this machine has a GPU")
@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_on_a_machine_without_a_gpu_the_real_onnxruntime_is_not_believed(tiny_model, provider, capfd):
    with pytest.raises(PlacementError) as caught:
        Session(tiny_model(), provider=provider)
    assert f"{provider}" in str(caught.value)
    assert capfd.readouterr() == ("", "")
    with Session(tiny_model(), provider=ProviderRequest(provider, allow_fallback=True)) as session:
        assert session.placement.label == "cpu"
        assert session.placement.fallback
    with Session(tiny_model(), provider="auto") as session:
        assert session.placement.label == "cpu"
        assert not session.placement.fallback


# --- auto -------------------------------------------------------------------------------------------


def test_auto_takes_tensorrt_where_it_takes_every_node(machine, tiny_model):
    with Session(tiny_model(), provider="auto") as session:
        assert session.placement.provider == "tensorrt"
        assert session.placement.refused == ()


def test_auto_goes_on_to_the_next_provider_and_says_why(machine, tiny_model):
    machine.refused = {TENSORRT: {"Gemm"}}
    with Session(tiny_model(), provider="auto") as session:
        assert session.placement.label == "cuda"
        assert not session.placement.fallback
        assert "provider cuda, 3 of 3 nodes" in str(session.placement)
        assert "not tensorrt: 1 of 3 nodes do not run on tensorrt" in str(session.placement)


def test_auto_ends_on_the_cpu(machine, tiny_model):
    lack_libraries(machine)
    with Session(tiny_model(), provider="auto") as session:
        assert session.placement.label == "cpu"
        assert "libnvinfer.so.10" in str(session.placement)
        assert "libcuda.so.1" in str(session.placement)


# --- options ----------------------------------------------------------------------------------------


def test_an_exact_engine_has_a_process_of_its_own(machine, tiny_model, monkeypatch):
    request = ProviderRequest("tensorrt", exact=True)
    monkeypatch.delenv(tf32.OVERRIDE, raising=False)
    with pytest.raises(InputError, match="needs a process of its own") as caught:
        Session(tiny_model(), provider=request)
    assert "NVIDIA_TF32_OVERRIDE=0" in str(caught.value)
    monkeypatch.setenv(tf32.OVERRIDE, "0")
    Session(tiny_model(), provider=request).close()


def test_an_engine_without_tf32_is_never_taken_for_one_with_it(machine, tiny_model, monkeypatch):
    monkeypatch.delenv(tf32.OVERRIDE, raising=False)
    Session(tiny_model(), provider="tensorrt").close()
    monkeypatch.setenv(tf32.OVERRIDE, "0")
    with Session(tiny_model(), provider="tensorrt") as session:
        assert session.engine.built
    assert machine.compiled == 2


def test_external_weights_stay_forbidden_on_a_gpu(machine, tiny_model):
    with Session(tiny_model(), provider="cuda"):
        options = machine.created[-1].real.get_session_options()
    entry = "session.model_external_initializers_file_folder_path"
    assert options.get_session_config_entry(entry) == os.devnull


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_asked_for(machine, tiny_model, threads):
    request = ProviderRequest("cuda", threads=threads)
    with Session(tiny_model(), provider=request):
        assert machine.created[-1].real.get_session_options().intra_op_num_threads == threads


def test_only_cuda_folds_the_weights_pairs_of_int8(machine, tiny_model):
    with Session(tiny_model(), provider=ProviderRequest("cuda", "int8")):
        options = machine.created[-1].real.get_session_options()
        assert options.get_session_config_entry(cuda.FOLD_WEIGHTS) == "1"
    with Session(tiny_model(), provider=ProviderRequest("tensorrt", "int8")):
        options = machine.created[-1].real.get_session_options()
        with pytest.raises(RuntimeError, match=cuda.FOLD_WEIGHTS):
            options.get_session_config_entry(cuda.FOLD_WEIGHTS)


def test_on_the_cpu_int8_keeps_its_fast_kernels_whoever_was_asked_first(machine, tiny_model):
    lack_libraries(machine)
    with Session(tiny_model(), provider=ProviderRequest("auto", "int8")):
        options = machine.created[-1].real.get_session_options()
        with pytest.raises(RuntimeError, match="disable_quant_qdq"):
            options.get_session_config_entry("session.disable_quant_qdq")


def test_onnxruntime_knows_the_option_for_exact_sums():
    folder = Path(onnxruntime.__file__).parent / "capi"
    assert any(EXACT_SUMS.encode() in file.read_bytes() for file in folder.glob("*pybind11_state*"))


# --- running ----------------------------------------------------------------------------------------


def test_batches_of_any_shape_are_bound_and_answered(machine, tiny_model, expected):
    with Session(tiny_model(), provider="cuda") as session:
        for seed in range(3):
            for count in range(1, 12):
                batch = pictures(count, seed)
                assert np.allclose(session.run(batch)["scores"], expected(batch), atol=1e-6)


def test_an_answer_is_not_overwritten_by_the_next(machine, tiny_model, expected):
    first, second = pictures(1, 1), pictures(1, 2)
    with Session(tiny_model(), provider="cuda") as session:
        answer = session.run(first)["scores"]
        session.run(second)
        assert np.array_equal(answer, expected(first))


def test_neither_is_the_callers_batch(machine, tiny_model):
    first, second = pictures(1, 1), pictures(1, 2)
    kept = first.copy()
    with Session(tiny_model(), provider="cuda") as session:
        session.run(first)
        session.run(second)
    assert np.array_equal(first, kept)


def test_a_batch_that_is_not_contiguous_gives_the_same_answer(machine, tiny_model, expected):
    batch = pictures(4)[:, ::-1]
    with Session(tiny_model(), provider="cuda") as session:
        assert np.allclose(session.run(batch)["scores"], expected(batch.copy()), atol=1e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_refuses_batches_for_which_it_was_not_compiled(machine, tiny_model, graph):
    batches = Batches(2, 2, 2) if graph else Batches(2, 3, 4)
    request = ProviderRequest(
        "cuda" if graph else "tensorrt", engine=EngineOptions(batches, cuda_graph=graph)
    )
    with Session(tiny_model(), provider=request) as session:
        session.run(pictures(2))
        for count in (1, 5):
            with pytest.raises(InputError, match="opened for batches from 2") as caught:
                session.run(pictures(count))
            assert f"a batch of {count}" in str(caught.value)


def test_a_closed_session_is_refused_on_a_gpu_too(machine, tiny_model):
    session = Session(tiny_model(), provider="cuda")
    session.run(pictures(1))
    session.close()
    with pytest.raises(InputError, match="session is closed"):
        session.run(pictures(1))


# --- engines ----------------------------------------------------------------------------------------


def test_an_engine_is_compiled_once(machine, tiny_model):
    with Session(tiny_model(), provider="tensorrt") as session:
        assert session.engine.built
        assert (session.engine.folder / "engine_1_sm87.engine").exists()
    with Session(tiny_model(), provider="tensorrt") as session:
        assert not session.engine.built
    assert machine.compiled == 1


def change_driver(machine):
    machine.driver = Driver("999.1", "13.0", machine.driver.gpus)


def change_gpu(machine):
    machine.driver = Driver("540.4.0", "12.6", (machine.driver.gpus[0].__class__("Thor", "11.0", 1 << 37),))


def change_tensorrt(machine):
    machine.version = (10, 16, 1)


def change_power_mode(monkeypatch):
    monkeypatch.setattr(opening, "power_mode", lambda: PowerMode(2, "MAXN_SUPER"))


def change_clocks(monkeypatch):
    monkeypatch.setattr(opening, "clock_state", lambda: "pinned")


@pytest.mark.parametrize("change", [change_power_mode, change_clocks])
def test_nor_is_one_that_was_timed_at_other_clocks(machine, tiny_model, monkeypatch, change):
    Session(tiny_model(), provider="tensorrt").close()
    change(monkeypatch)
    with Session(tiny_model(), provider="tensorrt") as session:
        assert session.engine.built
    assert machine.compiled == 2


@pytest.mark.parametrize("change", [change_driver, change_gpu, change_tensorrt])
def test_an_engine_of_another_machine_is_never_loaded(machine, tiny_model, change):
    Session(tiny_model(), provider="tensorrt").close()
    change(machine)
    with Session(tiny_model(), provider="tensorrt") as session:
        assert session.engine.built
    assert machine.compiled == 2


@pytest.mark.parametrize("engine", [EngineOptions(Batches(1, 2, 4)), EngineOptions(workspace=1 << 20)])
def test_neither_is_an_engine_of_another_request(machine, tiny_model, engine):
    Session(tiny_model(), provider="tensorrt").close()
    Session(tiny_model(), provider=ProviderRequest("tensorrt", engine=engine)).close()
    assert machine.compiled == 2


def test_an_engine_serves_with_and_without_a_cuda_graph(machine, tiny_model):
    Session(tiny_model(), provider="tensorrt").close()
    Session(tiny_model(), provider=ProviderRequest("tensorrt", engine=EngineOptions(cuda_graph=True))).close()
    assert machine.compiled == 1


def test_nor_that_of_another_model(machine, tiny_model):
    Session(tiny_model(), provider="tensorrt").close()
    Session(tiny_model(bias=np.ones(4, np.float32)), provider="tensorrt").close()
    assert machine.compiled == 2


def test_a_damaged_engine_is_compiled_again(machine, tiny_model):
    with Session(tiny_model(), provider="tensorrt") as session:
        (session.engine.folder / "engine_1_sm87.engine").write_bytes(b"damaged")
    with Session(tiny_model(), provider="tensorrt") as session:
        assert session.engine.built
        assert (session.engine.folder / "engine_1_sm87.engine").read_bytes() == b"compiled"


def test_a_new_onnxruntime_keeps_a_record():
    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    assert RECORDS or version < (1, 31)
