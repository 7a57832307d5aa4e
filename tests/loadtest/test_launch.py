import socket

import pytest

from loadtest.launch import LaunchError, Server, free_port


def test_a_free_port_takes_tcp_and_udp():
    port = free_port()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("", port))


async def test_a_server_that_refuses_to_start_is_told_with_its_words(tmp_path):
    server = Server(tmp_path / "data", {"METAPORT_HTTP_PORT": "99999"})
    with pytest.raises(LaunchError, match=r"ended with 2:\n(.|\n)*99999"):
        await server.start()
    assert await server.stop() == 2


async def test_a_command_that_fails_is_told_with_its_words(tmp_path):
    with pytest.raises(LaunchError, match="month"):
        await Server(tmp_path / "data").command("usage", "report")


def test_settings_of_the_caller_do_not_reach_the_server(tmp_path, monkeypatch):
    monkeypatch.setenv("METAPORT_USAGE_ZONE", "Europe/Paris")
    server = Server(tmp_path / "data", {"METAPORT_PROFILE": "bench"})
    assert "METAPORT_USAGE_ZONE" not in server.environment
    assert server.environment["METAPORT_PROFILE"] == "bench"
