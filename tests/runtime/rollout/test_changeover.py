"""A runner that follows a slot: no frame is lost or answered twice, and what fails changes nothing."""

import time
from functools import partial

import numpy as np
import pytest

from edgeproof.runtime.errors import BundleError, InputError
from edgeproof.runtime.inference.results import BadFrame, Prediction
from edgeproof.runtime.inference.runner import Runner
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.rollout.changeover import SlotRunner, open_runner
from edgeproof.runtime.rollout.install import install, rollback
from edgeproof.runtime.rollout.slot import Slot
from edgeproof.runtime.sources.frames import Frame
from edgeproof.runtime.testing import FakeCamera, memory

CPU = ProviderRequest(provider="cpu")
OPEN = partial(Runner.open, provider="cpu", workers=2, streams=2)
PATIENCE = 60.0  # seconds


@pytest.fixture
def export(write_bundle, tmp_path):
    """export(number): a bundle of that name."""
    return lambda number: write_bundle(
        tmp_path / f"bundle{number}", name=f"model{number}", created=f"2026-01-01T00:00:{number:02d}+00:00"
    )


@pytest.fixture
def slot(export, tmp_path):
    """A slot with model0 in use."""
    slot = Slot(tmp_path / "slot")
    install(export(0), slot, CPU)
    return slot


@pytest.fixture
def told():
    return []


@pytest.fixture
def follow(slot, told):
    """follow(**options): a runner that looks at the slot every few milliseconds."""
    return lambda **options: SlotRunner(slot, OPEN, tell=told.append, poll=0.005, **options)


def wait_for(condition):
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def frames(count, at=None):
    """Frames from memory; at[number] is called before that frame comes."""
    for number in range(count):
        (at or {}).get(number, lambda: None)()
        yield Frame.from_sample("memory", number, np.full((3, 8, 8), number % 2, np.float32))


def test_frames_go_on_over_changes_and_none_is_lost(follow, slot, export, told):
    with follow() as runner:

        def changed(number):
            install(export(number), slot, CPU)
            wait_for(runner._ready.is_set)

        at = {400: partial(changed, 1), 800: partial(changed, 2), 1200: lambda: go_back()}

        def go_back():
            rollback(slot, CPU)
            wait_for(runner._ready.is_set)

        results = list(runner.stream(frames(1600, at)))
        assert [result.frame for result in results] == list(range(1600))
        assert all(isinstance(result, Prediction) for result in results)
        assert runner.bundle.manifest.name == "model1"
        assert runner.totals.labelled == 1600
    assert [line.split(" changed over to ")[1].split()[0] for line in told] == ["model1", "model2", "model1"]


def test_a_version_that_fails_is_told_and_the_old_one_goes_on(follow, slot, export, told):
    with follow() as runner:
        (slot.versions / "000009" / "bundle").mkdir(parents=True)
        slot.switch("000009")
        wait_for(lambda: told)
        assert "not changed over" in told[0]
        assert [result.frame for result in runner.stream(frames(20))] == list(range(20))
        assert runner.bundle.manifest.name == "model0"


def test_bad_frames_are_counted_over_changes(follow, slot, export):
    with follow() as runner:
        samples = [np.zeros((3, 8, 8), np.float32), np.zeros((1, 1), np.float32)] * 5
        results = list(runner.stream(memory(samples)))
        install(export(1), slot, CPU)
        wait_for(runner._ready.is_set)
        results += runner.stream(memory(samples))
        assert sum(isinstance(result, BadFrame) for result in results) == 10
        assert (runner.totals.labelled, runner.totals.bad) == (10, 10)


def test_a_camera_is_not_reached_anew(follow, slot, export, colours):
    """The source stays open over a change; frames that nobody waited for are counted as without one."""
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 500
    fake = FakeCamera([pictures])
    with follow() as runner:
        stream = runner.stream(fake.camera())
        seen = [next(stream).frame]
        install(export(1), slot, CPU)
        wait_for(runner._ready.is_set)
        fake.over.wait(PATIENCE)
        runner.stop()
        seen += [result.frame for result in stream]
        assert seen == sorted(set(seen))
        assert runner.totals.labelled + runner.totals.dropped == 500
        assert fake.released == 1


def test_stop_ends_the_stream_after_the_frames_under_way(follow):
    with follow() as runner:
        stream = runner.stream(frames(10**6))
        first = [next(stream).frame for _ in range(3)]
        runner.stop()
        rest = [result.frame for result in stream]
        assert first + rest == list(range(3 + len(rest)))
        assert not list(runner.stream(frames(3)))


def test_a_bundle_is_run_as_a_bundle_and_a_slot_is_followed(slot, export, told):
    with open_runner(slot.folder, OPEN, tell=told.append) as runner:
        assert isinstance(runner, SlotRunner)
    with open_runner(export(5), OPEN, tell=told.append) as runner:
        assert isinstance(runner, Runner)


def test_nothing_installed_and_nothing_signed_are_refused(tmp_path, slot, make_key):
    with pytest.raises(InputError, match="Nothing is installed"):
        SlotRunner(Slot(tmp_path / "empty"), OPEN)
    from edgeproof.runtime.signing.keys import read_public_key

    with pytest.raises(BundleError, match="has no signature"):
        SlotRunner(slot, OPEN, [read_public_key(make_key()[1])])


def test_a_slot_that_cannot_be_read_is_told_once(follow, slot, told):
    with follow() as runner:
        (slot.folder / "current").unlink()
        (slot.folder / "current").symlink_to("elsewhere")
        wait_for(lambda: told)
        time.sleep(0.1)  # many looks
        assert len(list(runner.stream(frames(10)))) == 10
    assert len(told) == 1
