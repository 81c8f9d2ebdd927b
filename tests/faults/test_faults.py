"""Each fault a few times: nothing may be lost. `make reliability` tries them more often."""

import shutil

import pytest

FAST = ("clock_jumps", "little_memory", "provider_fails", "camera_stalls", "worker_dies", "frames_are_torn")
SLOW = ("export_killed", "training_killed", "cache_killed", "sweep_killed")
TRACED = ("install_on_a_full_disk", "install_on_a_read_only_disk")
ALL_CALLS = 1000  # more than an install makes


@pytest.fixture(scope="module")
def faults(script):
    return script("tests/faults/faults.py")


@pytest.fixture
def strace():
    if not shutil.which("strace"):
        pytest.skip("takes Debian's strace")


def test_every_fault_is_here(faults):
    assert {fault.__name__ for fault in faults.FAULTS} == {
        *FAST,
        *SLOW,
        *TRACED,
        "install_killed",
        "export_on_a_full_disk",
    }


@pytest.mark.parametrize("name", FAST)
def test_nothing_is_lost(faults, name, tmp_path):
    assert getattr(faults, name)(tmp_path, 2).tried == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_nothing_is_lost_by_kills(faults, name, tmp_path):
    assert getattr(faults, name)(tmp_path, 1).tried > 0


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("name", TRACED)
def test_nothing_is_lost_by_a_failing_disk(faults, name, tmp_path):
    assert getattr(faults, name)(tmp_path, 5).tried > 2


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
def test_an_install_may_be_killed_at_every_call_under_its_slot(faults, tmp_path):
    assert faults.install_killed(tmp_path, ALL_CALLS).tried > 30


@pytest.mark.slow
def test_an_export_may_fill_the_disk(faults, tmp_path):
    outcome = faults.export_on_a_full_disk(tmp_path, 2)
    if not outcome.tried:
        pytest.skip(outcome.happened)
