"""Installing into a slot and going back: what is proven first, and what is refused."""

import errno
import json
import shutil

import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.errors import BundleError, InputError, OutputError, PlacementError, ProofError
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.rollout import install as rollout
from edgeproof.runtime.rollout.install import install, rollback
from edgeproof.runtime.rollout.slot import KEPT, Slot
from edgeproof.runtime.signing.keys import read_private_key, read_public_key
from edgeproof.runtime.signing.signature import sign

CPU = ProviderRequest(provider="cpu")
PASSWORD = "correct horse"  # noqa: S105 - of keys that the tests make


@pytest.fixture
def slot(tmp_path):
    return Slot(tmp_path / "slot")


@pytest.fixture
def export(write_bundle, tmp_path):
    """export(day): a bundle that was exported on that day of January."""
    return lambda day: write_bundle(
        tmp_path / f"bundle{day}", name=f"day{day}", created=f"2026-01-{day:02d}T00:00:00+00:00"
    )


def name_in_use(slot):
    return Bundle.open(slot.bundle(slot.current)).manifest.name


def test_a_bundle_is_copied_proven_and_in_use(export, slot):
    installed = install(export(1), slot, CPU)
    assert (installed.version, slot.current) == ("000001", "000001")
    assert (installed.provider, installed.precision, installed.previous) == ("cpu", "fp32", None)
    assert name_in_use(slot) == "day1"
    assert slot.installed("000001") == installed
    assert slot.newest() == installed.release


def test_going_back_leads_through_what_stood_there(export, slot):
    for day in (1, 2, 3):
        install(export(day), slot, CPU)
    assert rollback(slot, CPU).version == "000002"
    assert name_in_use(slot) == "day2"
    install(export(4), slot, CPU)
    assert rollback(slot, CPU).release.name == "day2", "not the version that was rolled back"
    assert rollback(slot, CPU).release.name == "day1"
    with pytest.raises(InputError, match="no version from before"):
        rollback(slot, CPU)


def test_only_the_last_versions_stay(export, slot):
    for day in range(1, KEPT + 3):
        install(export(day), slot, CPU)
    assert sorted(path.name for path in slot.versions.iterdir()) == [f"{n:06d}" for n in range(3, KEPT + 3)]


def test_an_older_export_is_refused_unless_asked_for(export, slot):
    install(export(5), slot, CPU)
    older = export(4)
    with pytest.raises(InputError, match="older than one that was installed") as caught:
        install(older, slot, CPU)
    assert "--allow-older" in str(caught.value)
    assert name_in_use(slot) == "day5"
    install(older, slot, CPU, allow_older=True)
    assert name_in_use(slot) == "day4"
    with pytest.raises(InputError, match="older"):  # the newest ever installed counts, not what is in use
        install(older, slot, CPU)


def test_the_newest_export_counts_after_going_back(export, slot):
    install(export(1), slot, CPU)
    install(export(3), slot, CPU)
    rollback(slot, CPU)
    with pytest.raises(InputError, match="older"):
        install(export(2), slot, CPU)


def test_the_same_export_may_be_installed_again(export, slot):
    bundle = export(1)
    install(bundle, slot, CPU)
    assert install(bundle, slot, CPU).version == "000002"


def test_a_signature_is_required_where_a_key_is_named(export, slot, make_key):
    private, public = make_key()
    keys = [read_public_key(public)]
    bundle = export(1)
    with pytest.raises(BundleError, match="has no signature"):
        install(bundle, slot, CPU, keys)
    assert slot.current is None
    sign(Bundle.open(bundle), read_private_key(private))
    assert install(bundle, slot, CPU, keys).signed_by == keys[0].hint
    assert Bundle.open(slot.bundle(slot.current)).folder.joinpath("model.sig").is_file()
    unsigned = export(2)
    install(unsigned, slot, CPU)
    install(unsigned, slot, CPU)
    with pytest.raises(BundleError, match="has no signature"):
        rollback(slot, CPU, keys)
    assert slot.current == "000003"


def test_answers_that_differ_here_switch_nothing(export, slot, tiny_model, replace_file):
    install(export(1), slot, CPU)
    wrong = export(2)
    replace_file(wrong, "model.fp32.onnx", tiny_model(softmax=True))
    with pytest.raises(ProofError, match="does not give PyTorch's answers"):
        install(wrong, slot, CPU)
    assert name_in_use(slot) == "day1"
    assert sorted(path.name for path in slot.versions.iterdir()) == ["000001"], "no draft is left"


def test_a_damaged_bundle_and_an_absent_provider_switch_nothing(export, slot):
    install(export(1), slot, CPU)
    damaged = export(2)
    (damaged / "golden.npz").write_bytes(b"")
    with pytest.raises(BundleError):
        install(damaged, slot, CPU)
    with pytest.raises(PlacementError):
        install(export(3), slot, ProviderRequest(provider="tensorrt"))
    assert name_in_use(slot) == "day1"


def test_a_version_that_no_longer_holds_is_not_gone_back_to(export, slot):
    install(export(1), slot, CPU)
    install(export(2), slot, CPU)
    (slot.bundle("000001") / "model.fp32.onnx").write_bytes(b"rotten")
    with pytest.raises(BundleError):
        rollback(slot, CPU)
    assert name_in_use(slot) == "day2"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_said_and_switches_nothing(export, slot, monkeypatch, code):
    install(export(1), slot, CPU)

    def full(*arguments, **options):
        raise OSError(code, "no room")

    monkeypatch.setattr(rollout.shutil, "copyfile", full)
    with pytest.raises(OutputError, match="cannot take the bundle"):
        install(export(2), slot, CPU)
    monkeypatch.undo()
    assert name_in_use(slot) == "day1"
    assert sorted(path.name for path in slot.versions.iterdir()) == ["000001"]


def test_two_processes_do_not_install_at_once(export, slot):
    with slot.locked(), pytest.raises(InputError, match="Another process is changing the slot"):
        install(export(1), Slot(slot.folder), CPU)
    install(export(2), slot, CPU)


def test_what_a_killed_install_left_is_cleared_by_the_next(export, slot):
    install(export(1), slot, CPU)
    shutil.copytree(slot.versions / "000001", slot.versions / "000002")
    shutil.copytree(slot.versions / "000001", slot.versions / ".x.part")
    (slot.folder / ".current.99").symlink_to("versions/000002")
    install(export(2), slot, CPU)
    assert slot.current == "000003"
    assert sorted(path.name for path in slot.versions.iterdir()) == ["000001", "000003"]
    assert not list(slot.folder.glob(".current.*"))


@pytest.mark.parametrize("target", ["/etc", "../elsewhere", "versions/../x", "versions/latest"])
def test_a_link_that_leads_elsewhere_is_refused(slot, target):
    slot.folder.mkdir()
    (slot.folder / "current").symlink_to(target)
    with pytest.raises(BundleError, match="is not what `edgeproof install` makes"):
        _ = slot.current


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 3}', "9" * 5000])
def test_a_damaged_record_is_refused(export, slot, text):
    install(export(1), slot, CPU)
    install(export(2), slot, CPU)
    (slot.versions / "000002" / "installed.json").write_text(text)
    with pytest.raises(BundleError, match="cannot be read"):
        rollback(slot, CPU)


def test_nothing_installed_is_said(slot, export):
    with pytest.raises(InputError, match="Nothing is installed"):
        rollback(slot, CPU)


def test_the_commands(edgeproof, export, slot, make_key, tmp_path):
    """sign, install, run and rollback, as they are typed."""
    private, public = make_key(secret=PASSWORD)
    first, second = export(1), export(2)
    secret = {"EDGEPROOF_KEY_PASSWORD": PASSWORD}
    for bundle in (first, second):
        done = edgeproof("sign", bundle, "--key", private, env=secret)
        assert done.returncode == 0, done.stderr
        options = ["--slot", slot.folder, "--provider", "cpu", "--require-signature", public]
        done = edgeproof("install", bundle, *options)
        assert done.returncode == 0, done.stderr
    assert "version 000002 is day2" in done.stdout
    assert edgeproof("verify", first, "--require-signature", public).returncode == 0
    done = edgeproof("run", slot.folder, slot.bundle("000001"), "--require-signature", public)
    assert "day2" not in done.stderr
    other = make_key()[1]
    for command in (["verify", first], ["run", slot.folder, first], ["run", first, first]):
        done = edgeproof(*command, "--require-signature", other)
        assert done.returncode == 2
        assert "signed by another key" in done.stderr
    done = edgeproof("rollback", "--slot", slot.folder, "--json")
    assert json.loads(done.stdout)["release"]["name"] == "day1"
    assert name_in_use(slot) == "day1"


def test_others_can_read_what_is_installed(export, slot):
    install(export(1), slot, CPU)
    assert (slot.versions / "000001").stat().st_mode & 0o777 == (slot.folder.stat().st_mode & 0o777)


def test_a_damaged_record_of_an_old_version_stops_no_install(export, slot):
    for day in (1, 2):
        install(export(day), slot, CPU)
    (slot.versions / "000001" / "installed.json").write_text("{")
    assert install(export(3), slot, CPU).version == "000003"
