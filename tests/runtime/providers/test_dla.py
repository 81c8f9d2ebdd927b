import sys
from types import SimpleNamespace

import pytest

from edgeproof.runtime.errors import InputError, PlacementError
from edgeproof.runtime.providers import dla
from edgeproof.runtime.providers.dla import inspect_engine, judge_layers, require_dla
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest
from edgeproof.runtime.session.session import Session

WHOLE = [
    "input to nvm",
    "{ForeignNode[conv1...fc]}",
    "scores from nvm",
    "input copy finish",
    "scores copy finish",
]
TENSORRT = (10, 3, 0)


@pytest.fixture
def board(tmp_path):
    """board(model, cores): the files of a Jetson with so many DLAs; returns its root."""

    def make(model="NVIDIA Jetson AGX Orin Developer Kit", cores=2):
        (tmp_path / "proc/device-tree").mkdir(parents=True)
        (tmp_path / "proc/device-tree/model").write_text(f"{model}\0")
        (tmp_path / "proc/device-tree/compatible").write_text("nvidia,p3701\0nvidia,tegra234\0")
        for core in range(cores):
            (tmp_path / f"sys/bus/platform/devices/158{8 + core}0000.nvdla{core}").mkdir(parents=True)
        return tmp_path

    return make


@pytest.mark.parametrize("core", [0, 1])
def test_a_core_that_the_board_has_is_taken(board, core):
    require_dla(core, "fp16", TENSORRT, board())


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_only_fp16_runs_on_a_dla(board, precision):
    with pytest.raises(InputError, match="FP16 models only"):
        require_dla(0, precision, TENSORRT, board())


@pytest.mark.parametrize("version", [(10, 8, 0), (10, 16, 2), (11, 4, 1)])
def test_a_tensorrt_without_it_is_refused_with_the_one_that_has_it(board, version):
    with pytest.raises(PlacementError, match="does not compile for the DLA") as caught:
        require_dla(0, "fp16", version, board())
    assert "10.7 or older" in str(caught.value)


def test_a_board_without_one_is_refused(board):
    with pytest.raises(InputError, match="no DLA 0") as caught:
        require_dla(0, "fp16", TENSORRT, board("NVIDIA Jetson Orin Nano Developer Kit", cores=0))
    assert "Orin Nano" in str(caught.value)
    assert "none" in str(caught.value)


def test_so_is_a_core_too_many(board):
    with pytest.raises(InputError, match="no DLA 1") as caught:
        require_dla(1, "fp16", TENSORRT, board(cores=1))
    assert caught.value.details["available"] == "0"


def test_a_machine_that_is_no_jetson_has_none(tmp_path):
    with pytest.raises(InputError, match="no DLA 0"):
        require_dla(0, "fp16", TENSORRT, tmp_path)


# --- who computes -----------------------------------------------------------------------------------


def test_an_engine_whose_layers_are_all_on_the_dla_is_proven():
    found = judge_layers(WHOLE)
    assert (found.state, found.on_gpu) == ("dla", ())


def test_layers_on_the_gpu_are_named():
    found = judge_layers([*WHOLE, "node_hardsigmoid_3", "pool"])
    assert (found.state, found.on_gpu) == ("partly", ("node_hardsigmoid_3", "pool"))
    assert "node_hardsigmoid_3" in str(found)


def test_what_myelin_compiles_for_the_gpu_is_not_taken_for_the_dla():
    found = judge_layers(["{ForeignNode[conv1...fc]}"])
    assert (found.state, found.on_gpu) == ("partly", ("{ForeignNode[conv1...fc]}",))


def test_an_engine_that_tells_nothing_proves_nothing():
    assert judge_layers([]).state == "not proven"


@pytest.fixture
def inspector(monkeypatch):
    """inspector(text): TensorRT's Python package, whose inspector prints that; None: no engine loads."""

    def install(text):
        engine = SimpleNamespace(
            create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda form: text)
        )
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda data: None if text is None else engine)
        package = SimpleNamespace(
            Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
            Runtime=lambda logger: runtime,
            LayerInformationFormat=SimpleNamespace(JSON=1),
        )
        monkeypatch.setitem(sys.modules, "tensorrt", package)

    return install


@pytest.fixture
def engines(tmp_path):
    (tmp_path / "engine_1_sm87.engine").write_bytes(b"plan")
    return tmp_path


@pytest.mark.parametrize("text", ['{"Layers": ["a to nvm", "{ForeignNode[a...b]}", "b from nvm"]}'])
def test_names_come_from_the_engine_inspector(inspector, engines, text):
    inspector(text)
    assert inspect_engine(engines).state == "dla"


def test_detailed_layers_are_read_by_their_names(inspector, engines):
    inspector('{"Layers": [{"Name": "a to nvm"}, {"Name": "conv1"}]}')
    assert inspect_engine(engines).on_gpu == ("conv1",)


@pytest.mark.parametrize("text", [None, "", "no json", "[]", '{"Layers": []}'])
def test_an_inspector_that_gives_no_layers_proves_nothing(inspector, engines, text):
    inspector(text)
    assert inspect_engine(engines).state == "not proven"


def test_without_tensorrts_package_nothing_is_claimed(monkeypatch, engines):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = inspect_engine(engines)
    assert found.state == "not proven"
    assert "Python package" in str(found)


def test_several_engines_prove_nothing(inspector, engines):
    inspector('{"Layers": []}')
    (engines / "engine_2_sm87.engine").write_bytes(b"plan")
    assert "2 engines" in str(inspect_engine(engines))


# --- through a session --------------------------------------------------------------------------------


@pytest.fixture
def with_dla(machine, monkeypatch, board):
    """The machine, as a board with two DLAs."""
    root = board()
    original = dla.require_dla
    monkeypatch.setattr(
        dla, "require_dla", lambda core, precision, version: original(core, precision, version, root)
    )
    return machine


REQUEST = ProviderRequest("tensorrt", "fp16", engine=EngineOptions(dla_core=1))


def test_a_placement_on_the_dla_is_claimed_by_the_engine_alone(with_dla, inspector, tiny_model):
    inspector('{"Layers": ["a to nvm", "{ForeignNode[a...b]}", "b from nvm"]}')
    with Session(tiny_model(), provider=REQUEST) as session:
        assert "every layer on the DLA" in str(session.placement)
    options = with_dla.created[-1].providers[0][1]
    assert (options["trt_dla_enable"], options["trt_dla_core"]) == ("1", "1")


def test_else_it_is_said_not_to_be_proven(with_dla, monkeypatch, tiny_model):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with Session(tiny_model(), provider=REQUEST) as session:
        assert "not proven to be on the DLA" in str(session.placement)


def test_layers_left_to_the_gpu_are_refused_unless_allowed(with_dla, inspector, tiny_model):
    inspector('{"Layers": ["a to nvm", "conv7"]}')
    with pytest.raises(PlacementError, match="does not run 1 of the engine's layers") as caught:
        Session(tiny_model(), provider=REQUEST)
    assert "conv7" in str(caught.value)
    allowed = ProviderRequest("tensorrt", "fp16", allow_fallback=True, engine=EngineOptions(dla_core=1))
    with Session(tiny_model(), provider=allowed) as session:
        assert "on the GPU instead of the DLA: conv7" in str(session.placement)


def test_a_dla_that_is_not_there_runs_nothing_elsewhere(machine, tiny_model):
    with pytest.raises(InputError, match="no DLA 1"):
        Session(tiny_model(), provider=REQUEST)
    assert machine.compiled == 0
