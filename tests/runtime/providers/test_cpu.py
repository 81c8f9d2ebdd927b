import numpy as np
import onnxruntime
import pytest

from edgeproof.runtime.providers import cpu
from edgeproof.runtime.providers.registry import PROVIDERS
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.session.options import session_options


@pytest.mark.parametrize(("vnni", "provider"), [(False, "cpu"), (True, "cpu"), (False, "cuda")])
def test_int8_sums_are_exact_where_the_processors_own_are_not(monkeypatch, vnni, provider):
    monkeypatch.setattr(cpu, "has_vnni", lambda: vnni)
    options = session_options(onnxruntime, ProviderRequest(provider, "int8"), PROVIDERS[provider])
    if provider == "cpu" and not vnni:
        assert options.get_session_config_entry(cpu.EXACT_SUMS) == "1"
    else:
        with pytest.raises(RuntimeError, match=cpu.EXACT_SUMS):
            options.get_session_config_entry(cpu.EXACT_SUMS)


def test_the_cpu_computes_a_callers_own_array(tiny_model):
    from edgeproof.runtime.session.session import Session

    with Session(tiny_model(), provider="cpu") as session:
        session.run(np.zeros((1, 3, 8, 8), np.float32), mark=lambda: pytest.fail("nothing is copied"))
