"""Options of the commands as they reach ONNX Runtime, on a machine with two GPUs, as `machine` plays it."""

import pytest
import typer
from typer.testing import CliRunner

from edgeproof.runtime.cli import register
from edgeproof.runtime.device.gpu import Driver

SHORT = ("--warm-up", "0", "--duration", "0.01")


@pytest.fixture
def command(machine, bundle_folder, paint, tmp_path):
    """command(name, *options): run a command on the bundle, and give the options of each GPU session."""
    machine.driver = Driver("540.4.0", "12.6", machine.driver.gpus * 2)
    app = typer.Typer()
    register(app)
    more = {"run": [str(paint(tmp_path / "red.png", "red"))], "bench": SHORT}

    def run(name, *options):
        arguments = [name, str(bundle_folder), *more.get(name, ()), *map(str, options)]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [session.providers[0][1] for session in machine.created if session.on_gpu]

    return run


@pytest.mark.parametrize("name", ["run", "verify", "build", "bench"])
def test_the_gpu_is_the_one_named_by_device(command, name):
    found = command(name, "--provider", "tensorrt", "--precision", "fp16", "--device", 1)
    assert {options["device_id"] for options in found} == {"1"}


@pytest.mark.parametrize("name", ["run", "verify", "build", "bench"])
def test_without_device_it_is_the_first(command, name):
    found = command(name, "--provider", "tensorrt", "--precision", "fp16")
    assert {options["device_id"] for options in found} == {"0"}
    assert all("trt_max_workspace_size" not in options for options in found)
    assert all("trt_cuda_graph_enable" not in options for options in found)


@pytest.mark.parametrize("name", ["run", "verify", "build", "bench"])
def test_the_workspace_is_given_in_mebibytes(command, name):
    found = command(name, "--provider", "tensorrt", "--precision", "fp16", "--workspace", 64)
    assert {options["trt_max_workspace_size"] for options in found} == {str(64 * 1024 * 1024)}


@pytest.mark.parametrize("name", ["run", "build", "bench"])
@pytest.mark.parametrize(
    ("provider", "option"), [("tensorrt", "trt_cuda_graph_enable"), ("cuda", "enable_cuda_graph")]
)
def test_a_cuda_graph_is_recorded_where_one_is_wanted(command, name, provider, option):
    if (name, provider) == ("build", "cuda"):
        pytest.skip("CUDA compiles nothing ahead")
    found = command(name, "--provider", provider, "--precision", "fp16", "--cuda-graph")
    assert found[-1][option] == "1"


def test_run_finds_the_engine_of_build_with_the_same_options(command, machine):
    options = ("--provider", "tensorrt", "--precision", "fp16", "--workspace", 64, "--batch", 2)
    command("build", *options)
    command("run", *options)
    assert machine.compiled == 1


@pytest.mark.parametrize("name", ["run", "bench"])
def test_threads_are_those_of_one_inference(command, machine, name):
    command(name, "--provider", "cuda", "--precision", "fp16", "--threads", 3)
    assert machine.created[-1].real.get_session_options().intra_op_num_threads == 3


@pytest.mark.parametrize("streams", [1, 3])
def test_each_stream_on_a_gpu_has_a_session(command, streams):
    options = ("--provider", "tensorrt", "--precision", "fp16")
    built = len(command("build", *options))
    alone = len(command("run", *options)) - built
    assert len(command("run", *options, "--streams", streams)) == built + alone * (1 + streams)
