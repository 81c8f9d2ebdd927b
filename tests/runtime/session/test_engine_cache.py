import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.errors import OutputError, PlacementError
from edgeproof.runtime.session import engine_cache
from edgeproof.runtime.session.engine_cache import EngineCache, EngineKey

KEY = EngineKey("a" * 64, (("precision", "fp16"),), "1.31.1", "10.3.0", "12.6", "540.4.0", "Orin 8.7", "6.2")


def key(number):
    return dataclasses.replace(KEY, model=f"{number:064x}")


def write(data=b"engine"):
    """A build that leaves an engine and a timing cache."""

    def build(folder):
        (folder / "engine_0.engine").write_bytes(data)
        (folder / "timing").write_bytes(b"times")

    return build


def never(folder):
    pytest.fail("an engine was compiled that was there already")


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def test_an_engine_is_compiled_when_there_is_none_and_kept(cache):
    with cache.engine(KEY, write()) as folder:
        assert (folder / "engine_0.engine").read_bytes() == b"engine"
    with cache.engine(KEY, never) as again:
        assert again == folder


@given(
    field=st.sampled_from([f.name for f in dataclasses.fields(EngineKey) if f.name != "options"]),
    value=st.text(max_size=20),
)
def test_every_part_of_the_key_tells_engines_apart(field, value):
    other = dataclasses.replace(KEY, **{field: value})
    assert (other.digest() == KEY.digest()) == (other == KEY)


def test_a_key_is_the_same_in_every_process(cache):
    assert KEY.digest() == dataclasses.replace(KEY).digest()
    assert len(KEY.digest()) == 32


def spoil_engine(folder):
    (folder / "engine_0.engine").write_bytes(b"other")


def truncate_engine(folder):
    (folder / "engine_0.engine").write_bytes(b"")


def remove_engine(folder):
    (folder / "engine_0.engine").unlink()


def add_file(folder):
    (folder / "engine_1.engine").write_bytes(b"foreign")


def remove_seal(folder):
    (folder / engine_cache.KEY_FILE).unlink()


def spoil_seal(folder):
    (folder / engine_cache.KEY_FILE).write_bytes(b"\xff{")


def take_another_seal(folder):
    text = (folder / engine_cache.KEY_FILE).read_text()
    (folder / engine_cache.KEY_FILE).write_text(text.replace("540.4.0", "540.5.0"))


def add_folder(folder):
    (folder / "inner").mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        spoil_engine,
        truncate_engine,
        remove_engine,
        add_file,
        remove_seal,
        spoil_seal,
        take_another_seal,
        add_folder,
    ],
)
def test_what_is_damaged_or_foreign_is_compiled_again(cache, damage):
    with cache.engine(KEY, write()) as folder:
        pass
    damage(folder)
    assert not cache.holds(KEY)
    with cache.engine(KEY, write(b"new")) as folder:
        assert (folder / "engine_0.engine").read_bytes() == b"new"
    assert cache.holds(KEY)


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(folder):
        (folder / "engine_0.engine").write_bytes(b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), cache.engine(KEY, fail):
        pass
    assert not cache.holds(KEY)
    assert [entry.suffix for entry in cache.root.iterdir()] == [".lock"]


def test_a_build_without_an_engine_is_no_build(cache):
    with pytest.raises(PlacementError, match="compiled no part"), cache.engine(KEY, lambda folder: None):
        pass
    assert not cache.holds(KEY)


def test_the_engines_unused_for_longest_are_removed(tmp_path):
    cache = EngineCache(tmp_path, limit=350_000)
    for i in range(3):
        with cache.engine(key(i), write(bytes(100_000))) as folder:
            pass
        os.utime(folder / engine_cache.KEY_FILE, (i, i))
    with cache.engine(key(0), never):
        pass  # used again: now the youngest
    with cache.engine(key(3), write(bytes(100_000))):
        pass
    assert [cache.holds(key(i)) for i in range(4)] == [True, False, True, True]


def test_an_engine_larger_than_the_limit_is_kept_while_it_is_used(tmp_path):
    cache = EngineCache(tmp_path, limit=10)
    with cache.engine(KEY, write(bytes(1000))):
        pass
    assert cache.holds(KEY)


def test_an_engine_in_use_is_not_removed(tmp_path):
    cache = EngineCache(tmp_path, limit=10)
    with cache.engine(key(0), write(bytes(1000))) as used:
        with cache.engine(key(1), write(bytes(1000))):
            pass
        assert (used / "engine_0.engine").exists()


def test_abandoned_drafts_are_removed_and_fresh_ones_are_not(cache):
    cache.root.mkdir()
    old, fresh = cache.root / ".x.1.part", cache.root / ".x.2.part"
    old.mkdir()
    fresh.mkdir()
    os.utime(old, (0, 0))
    with cache.engine(KEY, write()):
        pass
    assert not old.exists()
    assert fresh.exists()


SLOW = """
import sys, time
from pathlib import Path
from edgeproof.runtime.session.engine_cache import EngineCache, EngineKey
root = Path(sys.argv[1])

def build(folder):
    with (root / "builds").open("a") as stream:
        stream.write("x")
    (folder / "a.engine").write_bytes(b"half")
    time.sleep(0.5)
    (folder / "a.engine").write_bytes(b"whole")

key = EngineKey("m", (), "1", "2", "3", "4", "5", "6")
with EngineCache(root / "engines").engine(key, build) as folder:
    assert (folder / "a.engine").read_bytes() == b"whole"
"""


def test_processes_that_start_together_compile_once(tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    assert (tmp_path / "builds").read_text() == "x"


def test_a_process_killed_while_it_compiles_leaves_no_engine(tmp_path):
    code = SLOW.replace("time.sleep(0.5)", "time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "builds").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    cache = EngineCache(tmp_path / "engines")
    other = EngineKey("m", (), "1", "2", "3", "4", "5", "6")
    assert not cache.holds(other)
    with cache.engine(other, write()):
        pass
    assert cache.holds(other)


# --- places that cannot be used ---------------------------------------------------------------------


def test_a_place_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "engines").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be used") as caught,
        EngineCache(tmp_path / "engines").engine(KEY, write()),
    ):
        pass
    assert "EDGEPROOF_CACHE" in str(caught.value)


def test_a_full_disk_is_told_before_anything_is_compiled(cache, monkeypatch):
    usage = shutil.disk_usage(cache.root.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match="is full") as caught, cache.engine(KEY, never):
        pass
    assert "make room" in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_is_told(cache, number):
    def fill(folder):
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match="is full"), cache.engine(KEY, fill):
        pass
    assert not cache.holds(KEY)


def make_read_only(monkeypatch, root):
    """As on a read-only system, also for root, whom permissions do not stop."""
    real_open, real_access = type(root).open, os.access

    def refuse(self, mode="r", *args, **options):
        if "r" not in mode and self.is_relative_to(root):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(self, mode, *args, **options)

    monkeypatch.setattr(type(root), "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK and real_access(path, mode))


def test_a_read_only_cache_serves_the_engines_that_are_in_it(cache, monkeypatch):
    with cache.engine(KEY, write()):
        pass
    make_read_only(monkeypatch, cache.root)
    with cache.engine(KEY, never) as folder:
        assert folder.is_dir()


def test_a_read_only_cache_takes_no_new_engine(cache, monkeypatch):
    with cache.engine(KEY, write()):
        pass
    make_read_only(monkeypatch, cache.root)
    with pytest.raises(OutputError, match="cannot be used"), cache.engine(key(1), never):
        pass
