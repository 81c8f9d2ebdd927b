"""What tests/conftest.py holds for every test."""

import socket

import pytest


@pytest.mark.parametrize("connect", ["connect", "connect_ex"])
def test_a_connection_to_another_host_is_refused_and_remembered(connections, connect):
    with socket.socket() as opened, pytest.raises(PermissionError, match="needs no network"):
        getattr(opened, connect)(("192.0.2.1", 80))
    assert connections == ["192.0.2.1"]
    connections.clear()


def test_this_machine_can_be_reached(connections):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert not connections


def test_every_test_has_a_time_limit(request):
    assert float(request.config.getini("timeout")) > 0
    assert request.config.pluginmanager.hasplugin("timeout")
