import json

import pytest

from edgeproof.runtime.errors import InputError, OutputError, PlacementError
from edgeproof.runtime.inference.runner import Runner
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.records import encode
from edgeproof.runtime.session.build import build

TENSORRT = ProviderRequest("tensorrt")
FP16 = ProviderRequest("tensorrt", "fp16")


def test_an_engine_is_compiled_once_and_the_runner_finds_it(machine, bundle):
    first, second = build(bundle, FP16), build(bundle, FP16)
    assert (first.built, second.built) == (True, False)
    assert first.folder == second.folder
    assert first.placement == "tensorrt"
    assert first.context is None
    with Runner.open(bundle, precision="fp16", provider="tensorrt"):
        assert machine.compiled == 1


def test_every_precision_has_its_own_engine(machine, bundle):
    assert build(bundle, FP16).folder != build(bundle, ProviderRequest("tensorrt", "fp32")).folder


def test_without_a_precision_it_is_the_one_that_tensorrt_runs(machine, bundle):
    assert build(bundle, TENSORRT).precision == bundle.manifest.verdict.ship


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_precision_is_the_graphs_alone(machine, bundle, precision):
    build(bundle, ProviderRequest("tensorrt", precision))
    name, options = machine.created[-1].providers[0]
    assert name == "TensorrtExecutionProvider"
    assert not [flag for flag in options if flag.endswith(("fp16_enable", "int8_enable", "bf16_enable"))]
    assert options["trt_profile_max_shapes"] == "input:1x3x8x8"


def test_a_context_model_is_written_where_asked(machine, bundle, tmp_path):
    built = build(bundle, FP16, context=tmp_path / "context.onnx")
    assert built.context == str(tmp_path / "context.onnx")
    assert (tmp_path / "context.onnx").read_bytes() == b"context"
    assert machine.created[-1].providers[0][1]["trt_ep_context_embed_mode"] == "1"


def test_an_onnxruntime_that_writes_no_context_model_is_told(machine, bundle, tmp_path):
    compile_engine = machine.compile
    machine.compile = lambda s: compile_engine({"trt_engine_cache_path": s["trt_engine_cache_path"]})
    with pytest.raises(PlacementError, match="wrote no context model"):
        build(bundle, FP16, context=tmp_path / "context.onnx")
    assert not (tmp_path / "context.onnx").exists()


def test_a_result_is_plain_json(machine, bundle):
    assert json.loads(json.dumps(encode(build(bundle, FP16))))["built"] is True


@pytest.mark.parametrize("provider", ["cuda", "cpu", "auto"])
def test_a_provider_that_compiles_nothing_is_refused(machine, bundle, provider):
    with pytest.raises(InputError, match="compiles nothing ahead"):
        build(bundle, ProviderRequest(provider))


def test_an_absent_precision_is_refused(machine, bundle):
    with pytest.raises(InputError, match="holds no int8 model"):
        build(bundle, ProviderRequest("tensorrt", "int8"))


def test_nodes_that_tensorrt_does_not_take_are_refused(machine, bundle):
    machine.refused = {"TensorrtExecutionProvider": {"Gemm"}}
    with pytest.raises(PlacementError, match="1 of 3 nodes do not run on tensorrt"):
        build(bundle, FP16)


def test_a_cache_that_cannot_be_used_is_told(machine, bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot be used"):
        build(bundle, FP16)


def test_without_tensorrt_a_fallback_is_no_build(machine, bundle):
    machine.broken = {"tensorrt": ["libnvinfer.so.10"]}
    with pytest.raises(InputError, match="cuda compiles nothing ahead") as caught:
        build(bundle, ProviderRequest("tensorrt", allow_fallback=True))
    assert "libnvinfer.so.10" in str(caught.value)
