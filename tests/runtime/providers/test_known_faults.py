import pytest

from edgeproof.runtime.device.gpu import Driver, Gpu
from edgeproof.runtime.errors import PlacementError
from edgeproof.runtime.providers.known_faults import KNOWN_FAULTS, refuse_known_fault
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.session.session import Session

ORIN, THOR = "8.7", "11.0"


@pytest.mark.parametrize(
    ("version", "capability", "precision"),
    [((10, 3, 0), ORIN, "int8"), ((10, 16, 2), THOR, "int8"), ((10, 16, 2), ORIN, "fp16")],
)
def test_what_is_known_to_work_is_let_through(version, capability, precision):
    refuse_known_fault(version, capability, precision)


def test_int8_on_orin_with_tensorrt_10_16_is_refused_before_it_is_compiled(machine, tiny_model):
    machine.version = (10, 16, 2)
    with pytest.raises(PlacementError, match=r"TensorRT 10\.16\.2 is known to fail on int8") as caught:
        Session(tiny_model(), provider=ProviderRequest("tensorrt", "int8"))
    assert "TensorRT 10.3" in str(caught.value)
    assert "--precision fp16" in str(caught.value)
    assert machine.compiled == 0
    Session(tiny_model(), provider=ProviderRequest("tensorrt", "fp16")).close()


def test_on_thor_the_same_tensorrt_compiles_it(machine, tiny_model):
    machine.version = (10, 16, 2)
    machine.driver = Driver("580.1", "13.0", (Gpu("Thor", THOR, 1 << 37),))
    Session(tiny_model(), provider=ProviderRequest("tensorrt", "int8")).close()
    assert machine.compiled == 1


def test_every_fault_says_where_it_is_reported_and_what_works():
    assert KNOWN_FAULTS
    assert all("issue" in fault.source and fault.works for fault in KNOWN_FAULTS)
