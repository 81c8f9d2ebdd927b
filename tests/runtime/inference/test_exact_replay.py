import sys

import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.parity import TOLERANCES
from edgeproof.runtime.errors import ProofError
from edgeproof.runtime.inference.exact_replay import COMMAND, replay_in_child
from edgeproof.runtime.inference.verification import verify
from edgeproof.runtime.providers.request import ProviderRequest

EXACT = ProviderRequest("cpu", "fp32", exact=True)


def test_the_child_replays_what_the_parent_would(bundle):
    found = replay_in_child(bundle, EXACT)
    assert found
    assert found == verify(bundle, "fp32", "cpu")


def test_the_child_is_started_without_tf32(bundle, tmp_path):
    script = "import os, sys; sys.exit(os.environ['NVIDIA_TF32_OVERRIDE'] + ' is the override')"
    with pytest.raises(ProofError, match="without TF32") as caught:
        replay_in_child(bundle, EXACT, [sys.executable, "-c", script])
    assert "0 is the override" in str(caught.value)


def test_a_bundle_that_changed_meanwhile_is_found_by_the_child(bundle):
    (bundle.folder / "golden.npz").write_bytes(b"other")
    with pytest.raises(ProofError, match=r"golden\.npz is not the file that was exported"):
        replay_in_child(bundle, EXACT)


def test_a_child_that_dies_is_told(bundle):
    with pytest.raises(ProofError, match="status -9"):
        replay_in_child(bundle, EXACT, [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_the_command_is_this_package():
    assert COMMAND[0] == sys.executable


# --- what verify makes of it ----------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_float32_on_a_gpu_is_replayed_as_it_runs_and_once_more_exactly(machine, bundle, provider):
    found = verify(bundle, "fp32", provider)
    assert found
    assert found.tolerance.relative_l2 > TOLERANCES["fp32"].relative_l2
    assert found.exact is not None
    assert found.exact.tolerance == TOLERANCES["fp32"]
    assert found.exact.provider == provider


@pytest.mark.parametrize(("precision", "provider"), [("fp16", "cuda"), ("fp32", "cpu")])
def test_what_knows_no_tf32_is_replayed_once(machine, bundle, precision, provider):
    found = verify(bundle, precision, provider)
    assert found
    assert found.exact is None
    assert found.tolerance == TOLERANCES[precision]


def test_a_failed_exact_replay_fails(bundle_folder, machine, monkeypatch):
    opened = Bundle.open(bundle_folder)
    good = verify(opened, "fp32", "cuda")
    failed = type(good)(**{**vars(good), "passed": False, "reason": "it differs", "exact": None})
    found = verify(opened, "fp32", "cuda", replay_exactly=lambda bundle, request: failed)
    assert found.passed
    assert not found
