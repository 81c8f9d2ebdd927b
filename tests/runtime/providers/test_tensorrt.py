from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.providers.base import EngineContext
from edgeproof.runtime.providers.request import Batches, EngineOptions, ProviderRequest
from edgeproof.runtime.providers.tensorrt import TENSORRT

CONTEXT = EngineContext("input", ("batch", 3, 224, 224), Path("engines"))


def options_of(context=CONTEXT, precision=None, device=0, **engine):
    request = ProviderRequest("tensorrt", precision, device=device, engine=EngineOptions(**engine))
    ((_, options),) = TENSORRT.provider_list(request, context)
    return options


def profile_of(options):
    return [name for name in options if "profile" in name]


@given(st.lists(st.integers(1, 512), min_size=3, max_size=3).map(sorted), st.integers(1, 999))
def test_all_three_profile_shapes_are_given_for_a_free_batch(sizes, side):
    context = EngineContext("picture", ("n", 3, side, side), Path("engines"))
    options = options_of(context, batches=Batches(*sizes))
    shapes = [options[f"trt_profile_{end}_shapes"] for end in ("min", "opt", "max")]
    assert shapes == [f"picture:{n}x3x{side}x{side}" for n in sizes]


def test_a_fixed_batch_needs_no_profile():
    assert not profile_of(options_of(EngineContext("input", (1, 3, 8, 8), Path("engines"))))
    assert profile_of(options_of())


def test_other_free_axes_are_refused():
    with pytest.raises(ModelError, match="one size of picture") as caught:
        options_of(EngineContext("input", ("batch", 3, "height", "width"), Path("engines")))
    assert "(batch, 3, height, width)" in str(caught.value)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_no_precision_flag_makes_the_network_weakly_typed(precision):
    options = options_of(precision=precision)
    assert not [name for name in options if name.endswith(("fp16_enable", "int8_enable", "bf16_enable"))]


def test_the_dla_is_read_only_beside_a_flag():
    options = options_of(precision="fp16", dla_core=1)
    assert (options["trt_dla_enable"], options["trt_dla_core"], options["trt_fp16_enable"]) == ("1", "1", "1")
    assert "trt_int8_enable" not in options


def test_engines_and_timings_are_kept_in_the_folder_of_the_context():
    options = options_of()
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == "engines"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"


def test_the_device_the_workspace_and_the_graph_are_those_requested():
    options = options_of(device=1, workspace=1 << 30, cuda_graph=True)
    assert options["device_id"] == "1"
    assert options["trt_max_workspace_size"] == str(1 << 30)
    assert options["trt_cuda_graph_enable"] == "1"
    plain = options_of()
    assert plain["device_id"] == "0"
    assert not {"trt_max_workspace_size", "trt_cuda_graph_enable"} & set(plain)


@pytest.mark.parametrize("fallback", [False, True])
def test_cuda_stands_behind_tensorrt_only_where_nodes_may_run_elsewhere(fallback):
    request = ProviderRequest("tensorrt", allow_fallback=fallback)
    names = [name for name, _ in TENSORRT.provider_list(request, CONTEXT)]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider"][: 1 + fallback]
