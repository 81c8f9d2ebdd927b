import pytest

from edgeproof.runtime.errors import InputError
from edgeproof.runtime.providers import tf32


@pytest.mark.parametrize(("value", "forbidden"), [("0", True), ("1", False), (None, False), ("", False)])
def test_only_0_forbids_it(monkeypatch, value, forbidden):
    if value is None:
        monkeypatch.delenv(tf32.OVERRIDE, raising=False)
    else:
        monkeypatch.setenv(tf32.OVERRIDE, value)
    assert tf32.is_forbidden() is forbidden
    if forbidden:
        tf32.require_forbidden()
    else:
        with pytest.raises(InputError, match="process of its own"):
            tf32.require_forbidden()


def test_a_process_with_the_environment_of_forbidden_forbids_it(monkeypatch):
    for name, value in tf32.FORBIDDEN.items():
        monkeypatch.setenv(name, value)
    assert tf32.is_forbidden()
