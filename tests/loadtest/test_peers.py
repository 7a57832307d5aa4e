"""Which peers there are, and what is said of those there are not."""

from pathlib import Path

import pytest

from loadtest import peer_setup, peers
from loadtest.peer_setup import AbsentError


def test_a_peer_that_cannot_be_had_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nats" / "bin" / "nats-server"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'nats-server: v9.9.9'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(peer_setup.shutil, "which", lambda name: None)
    found, absent = peers.available(tmp_path, "0.1.0")
    assert [(peer.name, peer.version) for peer in found] == [
        ("metaport", "0.1.0"),
        ("nats-server", "9.9.9"),
    ]
    assert set(absent) == {"metaport+redis", "uWebSockets.js", "ws", "Socket.IO", "Centrifugo"}
    assert absent["ws"] == "node and npm are not installed"


def test_a_new_enough_c_library_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_setup.platform, "libc_ver", lambda: ("glibc", "2.41"))
    assert peer_setup.newer_libc(tmp_path) == ()


def test_another_c_library_is_said_to_be_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_setup.platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(AbsentError, match="another C library"):
        peer_setup.newer_libc(tmp_path)


def test_an_unpacked_newer_c_library_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_setup.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(peer_setup.platform, "machine", lambda: "x86_64")
    root = tmp_path / "libc" / "usr" / "lib" / "x86_64-linux-gnu"
    root.mkdir(parents=True)
    (root / "ld-linux-x86-64.so.2").touch()
    words = peer_setup.newer_libc(tmp_path)
    assert words == (str(root / "ld-linux-x86-64.so.2"), "--library-path", str(root))


async def test_a_peer_that_ends_at_once_is_told() -> None:
    peer = peers.Program("ws", "1", ["false"], {})
    with pytest.raises(AbsentError, match="exit code 1"):
        async with peer.running(0):
            pass
