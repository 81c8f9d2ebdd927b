"""The device's commands reach no other machine: they work where no socket can be made."""

import subprocess
import sys

import pytest

WITHOUT_SOCKETS = """
import socket, sys


class Refused(socket.socket):
    def __init__(self, *arguments, **options):
        raise AssertionError("a socket is made")


socket.socket = socket.create_connection = socket.getaddrinfo = Refused
from edgeproof.export.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{bundle}", "{picture}"],
        ["verify", "{bundle}"],
        ["inspect", "{bundle}"],
        ["bench", "{bundle}", "--duration", "0.1", "--warm-up", "0"],
        ["install", "{bundle}", "--slot", "{slot}"],
        ["doctor"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_it_works_without_sockets(bundle_folder, paint, tmp_path, arguments):
    names = {
        "bundle": bundle_folder,
        "picture": paint(tmp_path / "red.png", "red"),
        "slot": tmp_path / "slot",
    }
    command = [sys.executable, "-c", WITHOUT_SOCKETS, *(each.format(**names) for each in arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
