import pytest

from edgeproof.runtime.errors import InputError
from edgeproof.runtime.providers.request import Batches, EngineOptions, ProviderRequest


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"provider": "cudda"}, "no provider 'cudda'"),
        ({"provider": ""}, "no provider"),
        ({"precision": "int4"}, "no precision 'int4'"),
        ({"device": -1}, "device is -1"),
        ({"threads": 0}, "threads is 0"),
        ({"engine": {"workspace": 0}}, "workspace is 0"),
        ({"engine": {"dla_core": -1}}, "dla_core is -1"),
        ({"engine": {"cuda_graph": True, "batches": Batches(1, 2, 4)}}, "one batch size"),
        ({"provider": "cpu", "engine": {"cuda_graph": True}}, "cpu has no CUDA graph"),
        ({"provider": "cuda", "precision": "fp16", "engine": {"dla_core": 0}}, "cuda does not reach the DLA"),
        ({"provider": "auto", "engine": {"dla_core": 0}}, "auto does not reach the DLA"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wishes, message):
    with pytest.raises(InputError, match=message):
        ProviderRequest(**{**wishes, "engine": EngineOptions(**wishes.get("engine", {}))})


def test_what_is_refused_is_answered_with_what_can_do_it():
    with pytest.raises(InputError) as caught:
        ProviderRequest("gpu")
    assert "tensorrt, cuda, cpu, auto" in str(caught.value)
    with pytest.raises(InputError) as caught:
        ProviderRequest("cpu", engine=EngineOptions(cuda_graph=True))
    assert "--provider tensorrt or cuda" in str(caught.value)
    with pytest.raises(InputError) as caught:
        ProviderRequest("cuda", engine=EngineOptions(dla_core=0))
    assert "--provider tensorrt" in str(caught.value)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (2, 1, 2), (1, 3, 2), (-1, 1, 1)])
def test_batches_out_of_order_are_refused(sizes):
    with pytest.raises(InputError, match="not in order"):
        Batches(*sizes)
