from edgeproof.runtime.providers.cuda import CUDA, CUDA_CHOICES
from edgeproof.runtime.providers.request import EngineOptions, ProviderRequest


def test_a_plain_request_sets_nothing_that_was_not_requested():
    assert CUDA.options(ProviderRequest("cuda")) == {"device_id": "0", **CUDA_CHOICES}


def test_tf32_is_off_only_where_exactness_was_requested():
    assert CUDA.options(ProviderRequest("cuda", exact=True))["use_tf32"] == "0"
    assert "use_tf32" not in CUDA.options(ProviderRequest("cuda"))


def test_the_device_and_the_graph_are_those_requested():
    options = CUDA.options(ProviderRequest("cuda", device=3, engine=EngineOptions(cuda_graph=True)))
    assert (options["device_id"], options["enable_cuda_graph"]) == ("3", "1")
