"""docs/rollout.md: each of its commands works, in its order."""

import re
import shlex
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "rollout.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```console\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def place(tmp_path, make_key, write_bundle, paint):
    """A folder with what the commands name."""
    private, public = make_key()
    (tmp_path / "private.pem").write_bytes(private.read_bytes())
    (tmp_path / "public.pem").write_bytes(public.read_bytes())
    write_bundle(tmp_path / "my_bundle")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    paint(tmp_path / "photos" / "cat" / "red.png", "red")
    return tmp_path


def test_every_command_works(place, edgeproof):
    assert [command[1] for command in COMMANDS] == ["sign", "install", "run", "rollback"]
    for command in COMMANDS:
        times = 2 if command[1] == "install" else 1  # so that there is something to go back to
        for _ in range(times):
            done = edgeproof(*command[1:], cwd=place)
            assert done.returncode == 0, f"{command}\n{done.stderr}"
        if command[1] == "run":
            assert '"label": "red"' in done.stdout
    assert "version 000001" in done.stdout


def test_its_numbers_are_the_programs_own():
    from edgeproof.runtime.rollout.changeover import POLL_SECONDS
    from edgeproof.runtime.rollout.slot import KEPT

    assert "The last three versions stay" in DOCUMENT
    assert "twice a second" in DOCUMENT
    assert (KEPT, POLL_SECONDS) == (3, 0.5)
