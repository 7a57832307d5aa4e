"""Both twins by one test class, over real sockets."""

import importlib
import socket
from collections.abc import Iterator
from types import ModuleType

import pytest

from sfu import arrivals, arrivals_pure
from sfu.ice import Path

TWINS = [arrivals_pure]
try:
    TWINS.append(importlib.import_module("sfu._arrivals"))
except ImportError:  # no compiler here, or not Linux: the specification is all there is
    assert arrivals.TWIN == "python"


def test_the_chosen_twin_is_the_fastest_there_is() -> None:
    assert arrivals.Arrivals is TWINS[-1].Arrivals
    assert (arrivals.TWIN == "python") is (arrivals.Arrivals is arrivals_pure.Arrivals)


class Ends:
    """Two sockets of one family, and what reads the first."""

    def __init__(self, twin: ModuleType, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.ours, self.theirs = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.ours, self.theirs):
            sock.setblocking(False)
            sock.bind((host, 0))
        self.arrivals = twin.Arrivals(self.ours, 3)

    def send(self, datagram: bytes) -> None:
        self.theirs.sendto(datagram, self.ours.getsockname())

    def read(self) -> list[tuple[bytes, Path]]:
        read: list[tuple[bytes, Path]] = self.arrivals.read()
        return read

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def ends(twin: ModuleType, request: pytest.FixtureRequest) -> Iterator[Ends]:
    ends = Ends(twin, request.param)
    yield ends
    ends.close()


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
class TestTwin:
    def test_datagrams_come_in_order_with_their_path(self, ends: Ends) -> None:
        path = Path(3, ends.theirs.getsockname())
        for datagram in (b"a", b"", b"ccc"):
            ends.send(datagram)
        read = ends.read()
        assert read == [(b"a", path), (b"", path), (b"ccc", path)]
        assert all(type(known) is Path for _, known in read)
        ends.send(b"\0" * 1472)
        assert ends.read() == [(b"\0" * 1472, path)]

    def test_a_path_can_be_sent_to(self, ends: Ends) -> None:
        ends.send(b"ping")
        ((_, path),) = ends.read()
        ends.ours.sendto(b"pong", path.address)
        assert ends.theirs.recv(16) == b"pong"

    def test_nothing_waits(self, ends: Ends) -> None:
        assert ends.read() == []

    def test_a_batch_ends_after_64(self, ends: Ends) -> None:
        for number in range(70):
            ends.send(bytes((number,)))
        assert [datagram[0] for datagram, _ in ends.read()] == list(range(64))
        assert [datagram[0] for datagram, _ in ends.read()] == list(range(64, 70))
        assert arrivals.BATCH == 64

    def test_what_is_too_long_is_cut_where_it_shows(self, ends: Ends) -> None:
        ends.send(bytes(9000))
        assert [len(datagram) for datagram, _ in ends.read()] == [2049]

    def test_an_icmp_error_is_read_over(self, ends: Ends) -> None:
        """Connected sockets report a port that nobody listens on; other datagrams still come."""
        here = ends.ours.getsockname()
        gone = socket.socket(ends.ours.family, socket.SOCK_DGRAM)
        gone.bind((here[0], 0))
        ends.ours.connect(gone.getsockname())
        gone.close()
        ends.ours.send(b"to nobody")
        assert ends.read() == []
        ends.ours.connect(ends.theirs.getsockname())
        ends.send(b"x")
        assert [datagram for datagram, _ in ends.read()] == [b"x"]

    def test_a_closed_socket_reads_nothing(self, ends: Ends) -> None:
        ends.close()
        assert ends.read() == []

    def test_more_addresses_than_are_remembered(self, ends: Ends) -> None:
        family, host = ends.ours.family, ends.ours.getsockname()[0]
        seen = set()
        for _ in range(3):
            for _ in range(1500):
                with socket.socket(family, socket.SOCK_DGRAM) as sock:
                    sock.bind((host, 0))
                    sock.sendto(b"x", ends.ours.getsockname())
                    expected = Path(3, sock.getsockname())
                    assert ends.read() == [(b"x", expected)]
                    seen.add(expected)
        assert len(seen) > 2000
