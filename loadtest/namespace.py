"""A network of the clients' own: a Linux network namespace joined to ours by a pair of veth.

Loopback delivers a datagram in the sender's system call to a socket of the same host; over veth it
takes the way out of one host and into another, as over a cable.
"""

import ctypes
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000


class Namespace:
    """Two hosts in one: `server_host` is ours, `client_host` is inside."""

    def __init__(self, name: str, server_host: str, client_host: str) -> None:
        self.server_host = server_host
        self.client_host = client_host
        self._name = name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let sockets that this thread makes belong to the namespace, for as long as they live."""
        if not self._name:
            yield
            return
        with (
            open("/proc/thread-self/ns/net") as ours,
            open(f"/run/netns/{self._name}") as theirs,
        ):
            _setns(theirs.fileno())
            try:
                yield
            finally:
                _setns(ours.fileno())


@contextmanager
def namespace() -> Iterator[Namespace]:
    """Make a namespace for the length of a block; loopback where that is not allowed."""
    # RFC 2544 section 4: 198.18.0.0/15 is for benchmarks.
    name = f"load{secrets.token_hex(4)}"
    network = f"198.18.{secrets.randbelow(256)}"
    server, client = f"{network}.1", f"{network}.2"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield Namespace("", "127.0.0.1", "127.0.0.1")
        return
    try:
        outer, inner = f"{name}a", f"{name}b"
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("address", "add", f"{server}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "address", "add", f"{client}/30", "dev", inner)
        _ip("-n", name, "link", "set", inner, "up")
        yield Namespace(name, server, client)
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _setns(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
