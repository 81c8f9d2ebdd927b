import hashlib
import os
import stat
from pathlib import Path

import pytest

from edgeproof.runtime import files
from edgeproof.runtime.errors import OutputError
from edgeproof.runtime.files import (
    ensure_can_publish,
    publish_file,
    publish_folder,
    sha256_bytes,
    sha256_file,
)


class Kept(Exception):
    """What a block raises in these tests."""


INTERRUPTIONS = [Kept, KeyboardInterrupt, SystemExit]


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


def interrupt_while_writing(path, interruption):
    path.write_bytes(b"half")
    raise interruption


@pytest.fixture
def usual_umask():
    previous = os.umask(0o022)
    yield
    os.umask(previous)


def test_hashes_agree_for_a_file_longer_than_one_piece(tmp_path):
    data = os.urandom(1000) * 2500
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_hash_of_nothing_is_the_known_one():
    assert sha256_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# --- publish_file -----------------------------------------------------------------------------------


def test_a_file_appears_only_when_the_block_is_done(tmp_path):
    target = tmp_path / "deep" / "er" / "file.bin"
    with publish_file(target) as draft:
        draft.write_bytes(b"new")
        assert not target.exists()
        assert draft.parent == target.parent
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["file.bin"]


def test_a_file_is_replaced(tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    with publish_file(target) as draft:
        draft.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interrupted_file_leaves_no_trace(tmp_path, interruption):
    target = tmp_path / "file.bin"
    with pytest.raises(interruption), publish_file(target) as draft:
        interrupt_while_writing(draft, interruption)
    assert names(tmp_path) == []


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interruption_keeps_the_previous_file(tmp_path, interruption):
    target = tmp_path / "file.bin"
    target.write_bytes(b"old")
    with pytest.raises(interruption), publish_file(target) as draft:
        interrupt_while_writing(draft, interruption)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.usefixtures("usual_umask")
def test_a_file_can_be_read_by_others(tmp_path):
    with publish_file(tmp_path / "file.bin") as draft:
        draft.write_bytes(b"new")
    assert permissions(tmp_path / "file.bin") == 0o644


def test_the_umask_is_respected_and_left_as_it_was(tmp_path):
    previous = os.umask(0o077)
    try:
        with publish_file(tmp_path / "file.bin") as draft:
            draft.write_bytes(b"new")
        assert permissions(tmp_path / "file.bin") == 0o600
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(previous)


@pytest.mark.parametrize("publish", [publish_file, publish_folder])
def test_a_parent_that_is_a_file_is_refused(tmp_path, publish):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written") as caught, publish(tmp_path / "file" / "new"):
        pytest.fail("there is no place to write to")
    assert "give a place that can be written" in str(caught.value)


# --- publish_folder ---------------------------------------------------------------------------------


def test_a_folder_appears_only_when_the_block_is_done(tmp_path):
    target = tmp_path / "deep" / "folder"
    with publish_folder(target) as draft:
        (draft / "a").write_bytes(b"new")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["folder"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch, exchanges):
    if not exchanges:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    with publish_folder(target) as draft:
        (draft / "new").write_bytes(b"new")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_relative_target_is_published_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in ("first", "second"):
        with publish_folder(Path("folder")) as draft:
            (draft / content).write_bytes(b"")
        assert names(tmp_path / "folder") == [content]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_folder_leaves_things_as_they_were(tmp_path, interruption, existing):
    target = tmp_path / "folder"
    if existing:
        target.mkdir()
        (target / "old").write_bytes(b"old")
    with pytest.raises(interruption), publish_folder(target) as draft:
        interrupt_while_writing(draft / "half", interruption)
    assert names(tmp_path) == (["folder"] if existing else [])
    assert not existing or (target / "old").read_bytes() == b"old"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_the_previous_folder_is_put_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, error):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    rename = Path.rename

    def fail_for_the_draft(path, destination):
        if path.suffix == ".part":
            assert not target.exists()
            raise error
        return rename(path, destination)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)  # as on a file system that cannot
    monkeypatch.setattr(Path, "rename", fail_for_the_draft)
    with pytest.raises(type(error)), publish_folder(target) as draft:
        (draft / "new").write_bytes(b"new")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.usefixtures("usual_umask")
def test_a_folder_can_be_read_by_others(tmp_path):
    with publish_folder(tmp_path / "folder") as draft:
        (draft / "file").write_bytes(b"")
    assert permissions(tmp_path / "folder") == 0o755
    assert permissions(tmp_path / "folder" / "file") == 0o644


# --- ensure_can_publish -----------------------------------------------------------------------------


def is_ours(folder):
    return (folder / "ours").exists()


def ensure(target, force=False):
    ensure_can_publish(target, force=force, replaceable=is_ours, what="one of ours")


@pytest.fixture
def ours(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "ours").write_bytes(b"")
    return tmp_path / "target"


@pytest.mark.parametrize("force", [False, True])
def test_a_new_place_and_an_empty_folder_are_free(tmp_path, force):
    (tmp_path / "empty").mkdir()
    ensure(tmp_path / "new", force)
    ensure(tmp_path / "empty", force)
    assert names(tmp_path) == ["empty"]
    assert names(tmp_path / "empty") == []


def test_an_existing_one_needs_force(ours):
    with pytest.raises(OutputError, match="exists already") as caught:
        ensure(ours)
    assert "--force" in str(caught.value)
    assert caught.value.exit_status == 2
    ensure(ours, force=True)
    assert names(ours) == ["ours"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_never_replaced(tmp_path, force):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("text")
    for target in ("home", "file"):
        with pytest.raises(OutputError, match="is not one of ours; it is left as it is"):
            ensure(tmp_path / target, force)


@pytest.mark.parametrize("force", [False, True])
def test_a_link_is_never_replaced(ours, force):
    link, broken = ours.parent / "link", ours.parent / "broken"
    link.symlink_to(ours)
    broken.symlink_to(ours.parent / "nowhere")
    for target in (link, broken):
        with pytest.raises(OutputError, match="is not one of ours"):
            ensure(target, force)


def test_a_parent_that_cannot_be_a_folder_is_refused_early(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for target in (tmp_path / "file" / "new", tmp_path / "file" / "deep" / "new"):
        with pytest.raises(OutputError, match="cannot be written"):
            ensure(target)


def test_a_parent_where_nothing_can_be_made_is_refused_early(tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        ensure(tmp_path / "new")
    assert "Read-only file system" in str(caught.value)


def test_a_parent_without_permission_is_refused_early(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        ensure(tmp_path / "new")
    assert "Permission denied" in str(caught.value)


@pytest.mark.parametrize("target", [".", "..", "sub/.."])
def test_the_working_folder_is_refused_early(tmp_path, monkeypatch, target):
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub" if target == ".." else tmp_path)
    with pytest.raises(OutputError, match="cannot be replaced"):
        ensure(Path(target))
