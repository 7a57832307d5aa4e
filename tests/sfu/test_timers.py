"""Deadlines of packet cores: the nearest first, none forgotten, none called too early."""

from sfu.timers import SHORTEST_S, Timers
from sfu.transport import PeerTransport
from tests.sfu.memory_peer import Network


class Alarm:
    """A core that is due at `at` and then each `every` seconds."""

    def __init__(self, at: float | None, every: float | None = None) -> None:
        self.at = at
        self.every = every
        self.called: list[float] = []

    def receive_rtcp(self, packet: bytes, now: float) -> None:
        raise NotImplementedError

    def handle_timeout(self, now: float) -> None:
        self.called.append(now)
        self.at = now + self.every if self.every is not None else None

    def next_deadline(self) -> float | None:
        return self.at


def peer(network: Network, core: Alarm) -> PeerTransport:
    transport = network.transports.open(0.0)
    transport.core = core
    return transport


def test_each_core_is_called_at_its_deadline(network: Network) -> None:
    timers = Timers()
    late, early, never = Alarm(2.0), Alarm(1.0), Alarm(None)
    for core in (late, early, never):
        timers.touch(peer(network, core))
    assert timers.next_deadline() == 1.0
    timers.handle_timeout(1.0)
    assert (early.called, late.called) == ([1.0], [])
    timers.handle_timeout(2.5)
    assert late.called == [2.5]
    assert timers.next_deadline() is None


def test_a_deadline_that_comes_nearer_replaces_the_old_one(network: Network) -> None:
    timers, core = Timers(), Alarm(5.0)
    transport = peer(network, core)
    timers.touch(transport)
    core.at = 1.0
    timers.touch(transport)
    timers.handle_timeout(1.0)
    timers.handle_timeout(5.0)
    assert core.called == [1.0]


def test_a_deadline_that_moved_later_is_waited_for(network: Network) -> None:
    timers, core = Timers(), Alarm(1.0)
    timers.touch(peer(network, core))
    core.at = 3.0
    timers.handle_timeout(1.0)
    assert core.called == []
    assert timers.next_deadline() == 3.0


def test_a_core_that_repeats_is_called_again(network: Network) -> None:
    timers, core = Timers(), Alarm(1.0, every=1.0)
    timers.touch(peer(network, core))
    for now in (1.0, 2.0, 3.0):
        timers.handle_timeout(now)
    assert core.called == [1.0, 2.0, 3.0]


def test_a_core_that_is_always_due_does_not_keep_the_loop(network: Network) -> None:
    timers, core = Timers(), Alarm(1.0, every=0.0)
    timers.touch(peer(network, core))
    timers.handle_timeout(1.0)
    assert core.called == [1.0]
    assert timers.next_deadline() == 1.0 + SHORTEST_S


def test_a_closed_transport_is_forgotten(network: Network) -> None:
    timers, core = Timers(), Alarm(1.0, every=1.0)
    transport = peer(network, core)
    timers.touch(transport)
    transport.close()
    timers.handle_timeout(1.0)
    timers.touch(transport)
    assert core.called == []
    assert timers.next_deadline() is None
