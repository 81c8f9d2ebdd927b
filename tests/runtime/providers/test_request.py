from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.errors import InputError, ModelError
from edgeproof.runtime.providers.request import (
    CUDA_CHOICES,
    Batches,
    ProviderRequest,
    TensorrtSite,
    cuda_options,
    provider_list,
    tensorrt_options,
)

CAPI = Path(onnxruntime.__file__).parent / "capi"
SITE = TensorrtSite("input", ("batch", 3, 224, 224), Path("engines"))


def everything(provider):
    """A request that uses every option there is."""
    dla = 0 if provider == "tensorrt" else None
    return ProviderRequest(
        provider, "int8", device=1, cuda_graph=True, exact=True, dla_core=dla, workspace=1 << 30
    )


@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
def test_every_option_is_known_to_the_provider_library(provider):
    library = CAPI / f"libonnxruntime_providers_{provider}.so"
    if not library.exists():
        pytest.skip("this onnxruntime is built without the provider")
    data = library.read_bytes()
    site = TensorrtSite("input", ("batch", 3, 8, 8), Path("engines"), context=Path("context.onnx"))
    ((_, options),) = provider_list(provider, everything(provider), site)
    assert len(options) >= 3
    unknown = [name for name in options if b"\0" + name.encode() + b"\0" not in data]
    assert unknown == []


@given(st.lists(st.integers(1, 512), min_size=3, max_size=3).map(sorted), st.integers(1, 999))
def test_all_three_profile_shapes_are_given_for_a_free_batch(sizes, side):
    site = TensorrtSite("picture", ("n", 3, side, side), Path("engines"))
    options = tensorrt_options(ProviderRequest("tensorrt", batches=Batches(*sizes)), site)
    shapes = [options[f"trt_profile_{end}_shapes"] for end in ("min", "opt", "max")]
    assert shapes == [f"picture:{n}x3x{side}x{side}" for n in sizes]


def test_a_fixed_batch_needs_no_profile():
    site = TensorrtSite("input", (1, 3, 8, 8), Path("engines"))
    assert not [name for name in tensorrt_options(ProviderRequest("tensorrt"), site) if "profile" in name]


def test_other_free_axes_are_refused():
    site = TensorrtSite("input", ("batch", 3, "height", "width"), Path("engines"))
    with pytest.raises(ModelError, match="one size of picture") as caught:
        tensorrt_options(ProviderRequest("tensorrt"), site)
    assert "(batch, 3, height, width)" in str(caught.value)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_no_precision_flag_makes_the_network_weakly_typed(precision):
    options = tensorrt_options(ProviderRequest("tensorrt", precision), SITE)
    assert not [name for name in options if name.endswith(("fp16_enable", "int8_enable", "bf16_enable"))]


def test_the_dla_is_read_only_beside_a_flag():
    options = tensorrt_options(ProviderRequest("tensorrt", "fp16", dla_core=1), SITE)
    assert (options["trt_dla_enable"], options["trt_dla_core"], options["trt_fp16_enable"]) == ("1", "1", "1")
    assert "trt_int8_enable" not in options


def test_engines_and_timings_are_kept_in_the_folder_of_the_site():
    options = tensorrt_options(ProviderRequest("tensorrt"), SITE)
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == "engines"
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"


def test_tf32_is_off_only_where_exactness_was_asked_for():
    assert cuda_options(ProviderRequest("cuda", exact=True))["use_tf32"] == "0"
    assert "use_tf32" not in cuda_options(ProviderRequest("cuda"))


def test_a_plain_request_sets_nothing_that_was_not_asked_for():
    assert cuda_options(ProviderRequest("cuda")) == {"device_id": "0", **CUDA_CHOICES}


@pytest.mark.parametrize(
    ("provider", "fallback", "names"),
    [
        ("tensorrt", False, ["TensorrtExecutionProvider"]),
        ("tensorrt", True, ["TensorrtExecutionProvider", "CUDAExecutionProvider"]),
        ("cuda", True, ["CUDAExecutionProvider"]),
        ("cpu", False, ["CPUExecutionProvider"]),
    ],
)
def test_cuda_stands_behind_tensorrt_only_where_nodes_may_run_elsewhere(provider, fallback, names):
    request = ProviderRequest(provider, allow_fallback=fallback)
    assert [name for name, _ in provider_list(provider, request, SITE)] == names


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"provider": "cudda"}, "no provider 'cudda'"),
        ({"provider": ""}, "no provider"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"device": -1}, "device is -1"),
        ({"provider": "tensorrt", "workspace": 0}, "workspace is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"cuda_graph": True}, "no CUDA graph"),
        ({"provider": "cuda", "cuda_graph": True, "batches": Batches(1, 2, 4)}, "one batch size"),
        ({"provider": "cuda", "cuda_graph": True, "streams": 2}, "replayed by one stream"),
        ({"streams": 0}, "streams is 0"),
        ({"provider": "cuda", "precision": "fp16", "dla_core": 0}, "Only TensorRT reaches the DLA"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wishes, message):
    with pytest.raises(InputError, match=message):
        ProviderRequest(**wishes)


def test_an_unknown_provider_is_answered_with_those_that_there_are():
    with pytest.raises(InputError) as caught:
        ProviderRequest("gpu")
    assert "tensorrt, cuda, cpu, auto" in str(caught.value)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 2), (1, 3, 2), (-1, 1, 1)])
def test_batches_out_of_order_are_refused(sizes):
    with pytest.raises(InputError, match="not in order"):
        Batches(*sizes)
